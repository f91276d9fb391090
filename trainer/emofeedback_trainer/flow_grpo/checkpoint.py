"""Checkpoints of a run: the learner's whole state and where the run stands, in safetensors and JSON.

    checkpoint/000012/state.safetensors   adapter, running average, optimizer, counters
    checkpoint/000012/checkpoint.json     iteration, configuration, models, SHA-256 of the state

One is written into a folder beside its place and moved there in a single rename, and only then is the one before it
deleted. So there is always a whole one, whatever is killed or full. All else that a run draws follows from its seed and
the iteration.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.profiles.overrides import flat
from emofeedback.storage.files import explained, write_json, write_whole
from emofeedback.storage.texts import parse_json
from emofeedback_trainer.flow_grpo.config import MAY_CHANGE, FlowGrpoConfig, present_keys

_STATE, _RECORD = "state.safetensors", "checkpoint.json"
_UNFINISHED = ".unfinished"


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """Where a run stands between two iterations."""

    iteration: int
    """Finished iterations."""
    seconds: float
    """That they took, over all starts of the run."""
    config: Mapping[str, Any]
    """By dotted key."""
    generator: ModelInfo
    judge: ModelInfo
    state: Mapping[str, Tensor]
    """The learner's."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Adds a checkpoint to the folder, then deletes the ones before.

    Raises:
        ResourceExhausted: the disk is full.
        FailedPrecondition: the folder can't be written.
        Either way the last checkpoint is untouched.
    """
    unfinished = folder / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    state = save({name: tensor.contiguous() for name, tensor in checkpoint.state.items()})
    with ThreadPoolExecutor(1) as beside:  # a disk takes as long as the hash
        digest = beside.submit(hashlib.sha256, state)
        write_whole(unfinished / _STATE, state)
    record = {
        "iteration": checkpoint.iteration,
        "seconds": checkpoint.seconds,
        "config": dict(checkpoint.config),
        "generator": asdict(checkpoint.generator),
        "judge": asdict(checkpoint.judge),
        "state_sha256": digest.result().hexdigest(),
    }
    write_json(unfinished / _RECORD, record)
    before = _finished(folder)
    place = folder / f"{checkpoint.iteration:06d}"
    try:
        unfinished.rename(place)
        _sync(folder)
    except OSError as error:
        raise explained(error, place) from error
    for old in before:
        shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint; None where there is none.

    Raises:
        FailedPrecondition: it can't be read, or is not what was written.
    """
    finished = _finished(folder)
    if not finished:
        return None
    place = finished[-1]
    try:
        record = parse_json((place / _RECORD).read_text(encoding="utf-8"))
        data = (place / _STATE).read_bytes()
        if hashlib.sha256(data).hexdigest() != record["state_sha256"]:
            raise ValueError(f"{_STATE} has changed since it was written")
        return Checkpoint(
            iteration=record["iteration"],
            seconds=record["seconds"],
            config=record["config"],
            generator=ModelInfo(**record["generator"]),
            judge=ModelInfo(**record["judge"]),
            state=load(data),
        )
    except (LookupError, OSError, SafetensorError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"the checkpoint {place} can't be read: {error}") from error


def require_same_config(checkpoint: Checkpoint, config: FlowGrpoConfig) -> None:
    """A run is only continued as what it was started as.

    Raises:
        InvalidRequest: a key that matters differs; it is named.
    """
    # A key that an earlier version did not know had no effect, as its default has none.
    kept = flat(FlowGrpoConfig()) | present_keys(checkpoint.config, config)
    for key, now in flat(config).items():
        before = kept.get(key)
        if key not in MAY_CHANGE and before != json.loads(json.dumps(now)):
            raise InvalidRequest.of(key, f"the run was started with {before!r}, not {now!r}")


def require_same_models(checkpoint: Checkpoint, generator: ModelInfo, judge: ModelInfo) -> None:
    """Base weights and judge are pinned for a run.

    Raises:
        FailedPrecondition: one of both is another than before.
    """
    for role, before, now in (
        ("generator", checkpoint.generator, generator),
        ("judge", checkpoint.judge, judge),
    ):
        if (before.name, before.digest) != (now.name, now.digest):
            raise FailedPrecondition(
                f"the run was started with the {role} {before.name} ({before.digest}), now it is "
                f"{now.name} ({now.digest}): a run never mixes two"
            )


def _finished(folder: Path) -> list[Path]:
    """Whole checkpoints, the newest last."""
    return sorted(path for path in folder.glob("[0-9]*") if (path / _RECORD).is_file())


def _sync(folder: Path) -> None:
    """Makes a rename last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
