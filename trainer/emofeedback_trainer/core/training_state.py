"""Resumable training in plain files: weights and optimizer state as safetensors, curves as JSON lines."""

import errno
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from emofeedback.observability.console import say
from emofeedback.storage.files import explained
from emofeedback_trainer.core.jsonl import add_line, cut_back

Optimizers = dict[str, torch.optim.Optimizer]


class TrainingState:
    """The state of one training run in a folder: models, their running averages, optimizers, and the step.

    `save` replaces the files in one move each, so a run that is cut leaves the last whole checkpoint behind;
    `resume` gives the step to go on from (0 for a fresh folder). Nothing is pickled.
    """

    def __init__(self, folder: Path, models: dict[str, nn.Module], optimizers: Optimizers, *, ema_decay: float) -> None:
        self.folder = folder
        self.step = 0
        self._models = models
        self._optimizers = optimizers
        self._ema_decay = ema_decay
        self.ema = {
            name: {key: value.detach().clone() for key, value in m.state_dict().items()} for name, m in models.items()
        }
        self._started = time.monotonic()
        self._begins_at: int | None = 0
        """The step that this start of the run goes on from, until its first line."""
        folder.mkdir(parents=True, exist_ok=True)

    @torch.no_grad()
    def average(self) -> None:
        """Moves the running averages one step; early on the window grows with the number of steps."""
        self.step += 1
        decay = min(self._ema_decay, self.step / (self.step + 10))
        for name, model in self._models.items():
            for key, value in model.state_dict().items():
                kept = self.ema[name][key]
                if kept.is_floating_point():
                    kept.lerp_(value.to(kept.dtype), 1 - decay)
                else:
                    kept.copy_(value)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """With the running averages in place of the present weights, for as long as the context lasts."""
        present = {
            name: {key: value.detach().clone() for key, value in model.state_dict().items()}
            for name, model in self._models.items()
        }
        self.settle()
        try:
            yield
        finally:
            for name, model in self._models.items():
                model.load_state_dict(present[name])

    def settle(self) -> None:
        """Puts the running averages in place of the present weights, for good."""
        for name, model in self._models.items():
            model.load_state_dict(self.ema[name])

    def save(self) -> None:
        """Writes the checkpoint of the present step.

        Raises:
            ResourceExhausted: the disk is full; the checkpoint before is whole.
            FailedPrecondition: the folder can't be written; likewise.
        """
        tensors: dict[str, Tensor] = {}
        for name, model in self._models.items():
            tensors |= {f"model/{name}/{key}": value.contiguous() for key, value in model.state_dict().items()}
            tensors |= {f"ema/{name}/{key}": value.contiguous() for key, value in self.ema[name].items()}
        for name, optimizer in self._optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimizer/{name}/{index}/{key}"] = torch.as_tensor(value).contiguous()
        unfinished = self.folder / "checkpoint.tmp"
        with told_of_the_disk(self.folder):
            save_file({key: value.clone() for key, value in tensors.items()}, unfinished, {"step": str(self.step)})
            unfinished.replace(self.folder / "checkpoint.safetensors")

    def resume(self) -> int:
        """Loads the last checkpoint, if there is one."""
        path = self.folder / "checkpoint.safetensors"
        if not path.exists():
            return 0
        tensors = load_file(path)
        for name, model in self._models.items():
            model.load_state_dict(_below(tensors, f"model/{name}/"))
            self.ema[name] = _below(tensors, f"ema/{name}/")
        for name, optimizer in self._optimizers.items():
            states: dict[int, dict[str, Tensor]] = {}
            for key, value in _below(tensors, f"optimizer/{name}/").items():
                index, field = key.split("/")
                states.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
        self.step = self._begins_at = _step(path)
        return self.step

    def log(self, **values: float | str) -> None:
        """Appends a line to the curve, `curve.jsonl`, and prints it; raises as `save`.

        The first one replaces what a start that was cut has told of the steps behind its last checkpoint.
        """
        path = self.folder / "curve.jsonl"
        if self._begins_at is not None:
            cut_back(path, "step", self._begins_at)
            self._begins_at = None
        line = {"step": self.step, "seconds": round(time.monotonic() - self._started, 1), **values}
        add_line(path, line)
        say(json.dumps(line))


@contextmanager
def told_of_the_disk(folder: Path) -> Iterator[None]:
    """What libraries raise because the folder's disk is full or can't be written becomes an error of ours.

    Raises:
        ResourceExhausted, FailedPrecondition: it is.
    """
    try:
        yield
    except OSError as error:
        raise explained(error, folder) from error
    except SafetensorError as error:  # safetensors tells in words what the system said
        code = next((code for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) if os.strerror(code) in str(error)), 0)
        if not code:
            raise
        raise explained(OSError(code, os.strerror(code)), folder) from error


def averaged_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """The running average of one model in a run's folder."""
    return _below(load_file(folder / "checkpoint.safetensors"), f"ema/{name}/")


def checkpoint_step(folder: Path) -> int:
    """The step of the checkpoint in the folder, 0 where there is none."""
    path = folder / "checkpoint.safetensors"
    return _step(path) if path.exists() else 0


def cosine(step: int, steps: int, *, peak: float, floor: float, warmup: int) -> float:
    """A learning rate that rises linearly to `peak` over `warmup` steps and falls to `floor` along a half cosine."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * progress))


def set_rates(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Scales every group's learning rate by the factor, from the rate it was made with."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            base: Any = group.setdefault("base_lr", group["lr"])
            group["lr"] = base * factor


def _step(path: Path) -> int:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return int(header["__metadata__"]["step"])


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
