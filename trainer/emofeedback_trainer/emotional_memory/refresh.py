"""A refresh: the judge learns on, from its real data and, for at most 30 %, from painted pictures.

The real data is always there. A picture counts by how far its label can be trusted (1 / variance); every cell of the
plane that the memory knows is seen equally often. What comes out is kept only if the judge reads painted pictures
better, by held-out twins, and rendered or real ones hardly worse.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from torch import nn

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.engines.base import fetch_checkpoint
from emofeedback.profiles.overrides import to_toml
from emofeedback.storage.checkpoints import check_device, digest
from emofeedback.storage.files import write_json, write_whole
from emofeedback_trainer.core.run_files import CONFIG, RESULT
from emofeedback_trainer.core.training_state import TrainingState, cosine, set_rates, told_of_the_disk
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.emotional_memory.balance import drawing_shares
from emofeedback_trainer.emotional_memory.entries import Known
from emofeedback_trainer.emotional_memory.lessons import (
    Collator,
    Lesson,
    lesson_loss,
    rating_lesson,
    reasoning_lesson,
)
from emofeedback_trainer.emotional_memory.measuring import Array, difference, labels_of, misses, readings
from emofeedback_trainer.emotional_memory.refresh_config import LARGEST_RISE, RefreshConfig
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.evaluation.metrics import Estimate
from emofeedback_trainer.judge.processor import JudgeProcessor
from emofeedback_trainer.judge.training import adapter, export_merged, load_judge_model


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a refresh came to."""

    kept: bool
    checkpoint: Path
    """The new judge: in `judge` where it is kept, in `dismissed` where not."""
    digest: str
    real: Estimate
    """Change of the error on held-out real pictures, in points."""
    painted: Estimate
    """On held-out twins."""


def is_kept(real: Estimate, painted: Estimate) -> bool:
    """Whether a refreshed judge takes the place of the one before: painted falls, real rises by at most 0.01 points."""
    return painted.value < 0 and real.value <= LARGEST_RISE


def refresh(
    config: RefreshConfig,
    folder: Path,
    *,
    real: Sequence[Sample],
    memory: Sequence[Known],
    held_out: Sequence[Sample],
    held_out_painted: Sequence[Sample],
    show: Callable[[str, int, int], None],
) -> Refreshed:
    """Trains in a folder, going on where it was cut, and decides.

    Args:
        real: the data to learn from.
        memory: what was painted, to learn from as well; may be empty where the share is 0.
        held_out: real pictures to measure on.
        held_out_painted: twins of held-out samples.
        show: is told of each part of the work: its name, how much is done, how much there is.

    Raises:
        InvalidRequest: nothing to learn from or to measure on, or the folder's run was started otherwise.
        FailedPrecondition: the checkpoint or the device can't be had.
        ResourceExhausted: the disk is full; the last checkpoint is whole.
    """
    real = [sample for sample in real if _is_rated(sample)]
    memory = [known for known in memory if _is_rated(known.sample)]
    held_out, held_out_painted = (
        [sample for sample in some if _is_rated(sample)][: config.measured] for some in (held_out, held_out_painted)
    )
    for field, some in (("data", real), ("data", held_out), ("memory", held_out_painted)):
        if not some:
            raise InvalidRequest.of(
                field, "has no pictures with valence, arousal and emotion to learn from or to hold out"
            )
    if config.share and not memory:
        raise InvalidRequest.of("memory", "is empty: fill it first, or set share=0 for the control without it")
    check_device(config.model.device, "model.device")
    _claim(folder, config)
    source = fetch_checkpoint(config.model.checkpoint)
    places = [folder / "judge", folder / "dismissed"]
    if not (folder / RESULT).exists():
        trained = _trained(config, folder, source, real, memory, show)
        _decide(config, folder, source, trained, held_out, held_out_painted)
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return Refreshed(
        kept=result["kept"],
        checkpoint=places[0] if result["kept"] else places[1],
        digest=result["digest"],
        real=Estimate(**result["real"]),
        painted=Estimate(**result["painted"]),
    )


def _point(sample: Sample) -> AffectPoint:
    assert sample.valence is not None and sample.arousal is not None  # `_is_rated`
    return AffectPoint(sample.valence, sample.arousal)


def _is_rated(sample: Sample) -> bool:
    return sample.valence is not None and sample.arousal is not None and sample.emotion is not None


def _claim(folder: Path, config: RefreshConfig) -> None:
    text, path = to_toml(config), folder / CONFIG
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InvalidRequest.of("out", f"{folder} holds a refresh with another configuration: name another folder")
    write_whole(path, text.encode())


def _trained(
    config: RefreshConfig,
    folder: Path,
    source: Path,
    real: Sequence[Sample],
    memory: Sequence[Known],
    show: Callable[[str, int, int], None],
) -> Path:
    """Trains an adapter and merges it; returns the new judge's folder."""
    device = config.model.device
    torch.manual_seed(config.seed)
    judge = load_judge_model(config.model, source)
    adapted = get_peft_model(judge, adapter(config.model))
    learned = {name.replace(".", "/"): value for name, value in adapted.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(learned.values(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    collate = Collator(
        JudgeProcessor.load(source, max_pixels=config.model.max_pixels), max_pixels=config.model.max_pixels
    )
    with told_of_the_disk(folder):
        state = TrainingState(
            folder / "state", {"adapter": nn.ParameterDict(learned)}, {"adamw": optimizer}, ema_decay=0.98
        )
        for step in range(state.resume(), config.steps):
            set_rates([optimizer], cosine(step, config.steps, peak=1.0, floor=0.05, warmup=config.warmup))
            rng = np.random.default_rng((config.seed, step))
            ratings, reasonings = _lessons(config, real, memory, rng)
            optimizer.zero_grad()
            for lessons in filter(None, (ratings, reasonings)):
                with torch.autocast(device, torch.bfloat16):
                    loss = lesson_loss(judge, collate(lessons, device))
                torch.autograd.backward(loss * (1.0 if lessons is ratings else len(reasonings) / len(ratings)))
            nn.utils.clip_grad_norm_(list(learned.values()), 1.0)
            optimizer.step()
            state.average()
            show("refresh", step + 1, config.steps)
            if state.step % config.save_every == 0 or state.step == config.steps:
                state.save()
        with torch.no_grad():
            for name, value in state.ema["adapter"].items():
                learned[name].copy_(value)
        export_merged(adapted, source, folder / "trained")
    return folder / "trained"


def _lessons(
    config: RefreshConfig, real: Sequence[Sample], memory: Sequence[Known], rng: np.random.Generator
) -> tuple[list[Lesson], list[Lesson]]:
    """The short ratings of a step, and the reasoned replies of some of its real pictures."""
    painted = round(config.batch * config.share)
    chosen = [
        Known(sample=real[index], sd=config.label_sd) for index in rng.integers(len(real), size=config.batch - painted)
    ]
    aloud = [known.sample for known in chosen if rng.random() < config.aloud]
    if painted:
        labels = [_point(known.sample) for known in memory]
        drawn = rng.choice(len(memory), size=painted, p=drawing_shares(labels))
        chosen += [memory[index] for index in drawn]
    ratings = []
    for known in chosen:
        assert known.sample.emotion is not None  # `_is_rated`
        ratings.append(
            rating_lesson(
                image_of(known.sample),
                _point(known.sample),
                known.sample.emotion,
                weight=min(1.0, (config.label_sd / known.sd) ** 2),
                mirrored=bool(rng.random() < 0.5),
            )
        )
    reasonings = [reasoning_lesson(sample, mirrored=bool(rng.random() < 0.5)) for sample in aloud]
    return ratings, [lesson for lesson in reasonings if lesson]


def _decide(
    config: RefreshConfig,
    folder: Path,
    source: Path,
    trained: Path,
    held_out: Sequence[Sample],
    held_out_painted: Sequence[Sample],
) -> None:
    changes = {}
    said: dict[str, Any] = {}
    for name, samples in (("real", held_out), ("painted", held_out_painted)):
        truth = labels_of(samples)
        read = {
            who: readings(str(path), samples, config.model) for who, path in (("before", source), ("after", trained))
        }
        changes[name] = difference(misses(read["before"], truth), misses(read["after"], truth))
        said[name] = {"ids": [sample.id for sample in samples], **{who: _told(found) for who, found in read.items()}}
    kept = is_kept(changes["real"], changes["painted"])
    write_json(folder / "readings.json", said)
    place = folder / ("judge" if kept else "dismissed")
    shutil.rmtree(place, ignore_errors=True)  # of a decision that was cut before it was written down
    trained.rename(place)
    write_json(
        folder / RESULT,
        {"kept": kept, "digest": digest(place), **{name: vars(change) for name, change in changes.items()}},
    )


def _told(read: Array) -> list[list[float | None]]:
    """Readings as JSON has them: null where the judge could not read a picture."""
    return [[None if np.isnan(value) else float(value) for value in point] for point in read]
