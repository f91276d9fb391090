"""What supervised fine-tuning and GRPO have in common: model and adapter, the run, the judge that comes out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from rich.console import Console
from transformers import AutoConfig, PrinterCallback, Qwen2_5_VLForConditionalGeneration

from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.engines.base import CHECKPOINT_FILES, fetch_checkpoint
from emofeedback.storage.checkpoints import check_device, digest
from emofeedback.storage.files import set_aside
from emofeedback_trainer.core.training_state import told_of_the_disk
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.judge.callbacks import MetricsCallback
from emofeedback_trainer.judge.config import GrpoConfig, ModelConfig, SftConfig
from emofeedback_trainer.judge.curves import draw_curves
from emofeedback_trainer.judge.folder import JudgeRunFolder, TrainedJudge
from emofeedback_trainer.judge.processor import JudgeProcessor


def trained(
    config: SftConfig | GrpoConfig,
    folder: Path,
    build: Callable[[Any, JudgeProcessor], Any],
    *,
    held_out: Sequence[Sample],
    max_new_tokens: int,
    resume: bool,
    console: Console,
) -> TrainedJudge:
    """Runs a trainer to its end.

    Args:
        build: makes TRL's trainer of a model and its processor.
        held_out: the validation split.
        max_new_tokens: of a reply that is measured.

    Raises:
        InvalidRequest: as `JudgeRunFolder.open`, or the data has no labels for the tasks.
        FailedPrecondition: the checkpoint or the device can't be had, or the folder can't be written.
        ResourceExhausted: the disk is full; the last checkpoint is whole.
    """
    if not held_out:
        raise InvalidRequest.of("data", "has no validation split: what is learned must be measured on other pictures")
    check_device(config.model.device, "model.device")
    source = fetch_checkpoint(config.model.checkpoint)
    files = JudgeRunFolder(folder)
    checkpoint = files.open(config, resume=resume)
    processor = JudgeProcessor.load(source, max_pixels=config.model.max_pixels)
    trainer = build(load_judge_model(config.model, source), processor)
    watching = MetricsCallback(
        files,
        held_out,
        model=config.model,
        schedule=config.schedule,
        processor=processor,
        max_new_tokens=max_new_tokens,
        console=console,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watching)
    began = time.monotonic()
    with told_of_the_disk(folder):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        export_merged(trainer.model, source, files.judge)
        draw_curves(files)
    result = TrainedJudge(
        checkpoint=files.judge,
        digest=digest(files.judge),
        steps=config.schedule.steps,
        seconds=time.monotonic() - began,
    )
    files.finish({"digest": result.digest, "steps": result.steps, "validation": files.lines("eval")[-1]})
    return result


def arguments(config: SftConfig | GrpoConfig, folder: Path) -> dict[str, Any]:
    """The options that both of TRL's trainers take."""
    schedule = config.schedule
    return {
        "output_dir": str(JudgeRunFolder(folder).checkpoints),
        "max_steps": schedule.steps,
        "per_device_train_batch_size": schedule.batch,
        "gradient_accumulation_steps": schedule.accumulation,
        "learning_rate": schedule.learning_rate,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": schedule.final_rate},
        "warmup_steps": schedule.warmup,
        "save_steps": schedule.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "seed": config.seed,
        "bf16": True,
        "use_cpu": config.model.device == "cpu",
        "gradient_checkpointing": config.model.gradient_checkpointing,
        "disable_tqdm": True,
        "report_to": "none",
    }


def adapter(model: ModelConfig) -> LoraConfig:
    """What learns."""
    return LoraConfig(
        r=model.rank, lora_alpha=model.lora_alpha, lora_dropout=model.dropout, target_modules=model.target_modules
    )


def load_judge_model(config: ModelConfig, source: Path) -> Any:
    """The model of a checkpoint's folder, ready to learn on the configuration's device."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        source, dtype=getattr(torch, config.dtype), use_safetensors=True
    )
    if config.device == "cpu":
        model.set_attn_implementation("eager")  # twice as fast backward as the fused kernel, at a judge's lengths
    return model.to(config.device)


def export_merged(model: Any, source: Path, destination: Path) -> None:
    """Writes the judge with its adapter merged in, in the precision and with the other files of its source."""
    partial = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    stored = AutoConfig.from_pretrained(source).dtype or torch.float32
    model.merge_and_unload().to(stored).save_pretrained(partial)
    for pattern in CHECKPOINT_FILES:
        for file in source.glob(pattern):
            if not file.name.startswith("model"):  # the weights and their index
                shutil.copyfile(file, partial / file.name)
    former = set_aside(destination)  # a cut here must leave one of the two
    partial.rename(destination)
    if former is not None:
        shutil.rmtree(former, ignore_errors=True)
