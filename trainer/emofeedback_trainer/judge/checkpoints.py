"""A trainer whose checkpoints are safetensors and JSON: nothing in them has to be unpickled.

    checkpoint-40/adapter_model.safetensors   what learns
    checkpoint-40/optimizer.safetensors       moments and step counts, by parameter
    checkpoint-40/draws.json                  the random generators and the learning rate's schedule
    checkpoint-40/trainer_state.json          the step; written last, so a folder without it was cut

It overrides what transformers' `Trainer` writes with `torch.save`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Trainer

_OPTIMIZER, _DRAWS = "optimizer.safetensors", "draws.json"


class PlainCheckpoints(Trainer):  # type: ignore[misc, unused-ignore]
    """Stands before TRL's trainers in a class's bases."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        self.model.save_pretrained(output_dir or self.args.output_dir, state_dict=state_dict)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        tensors = {
            f"{index}/{key}": torch.as_tensor(value).contiguous()
            for index, state in self.optimizer.state_dict()["state"].items()
            for key, value in state.items()
        }
        save_file(tensors, Path(output_dir) / _OPTIMIZER)

    def _save_rng_state(self, output_dir: str) -> None:
        draws = {
            "schedule": self.lr_scheduler.state_dict(),
            "python": random.getstate(),
            "numpy": np.random.get_state(legacy=False),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
        }
        (Path(output_dir) / _DRAWS).write_text(json.dumps(draws, default=_listed), encoding="utf-8")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in load_file(Path(checkpoint) / _OPTIMIZER).items():
            index, key = name.split("/")
            states.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})
        self.lr_scheduler.load_state_dict(_draws(checkpoint)["schedule"])
        for group, rate in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        draws = _draws(checkpoint)
        version, internal, gauss = draws["python"]
        random.setstate((version, tuple(internal), gauss))
        keys = np.array(draws["numpy"]["state"]["key"], np.uint32)
        np.random.set_state({**draws["numpy"], "state": {**draws["numpy"]["state"], "key": keys}})
        torch.set_rng_state(torch.tensor(draws["torch"], dtype=torch.uint8))
        for device, state in enumerate(draws["cuda"]):
            torch.cuda.set_rng_state(torch.tensor(state, dtype=torch.uint8), device)


def _draws(checkpoint: str) -> dict[str, Any]:
    draws: dict[str, Any] = json.loads((Path(checkpoint) / _DRAWS).read_text(encoding="utf-8"))
    return draws


def _listed(value: Any) -> Any:
    """An array, a tensor or a scalar of theirs as JSON has it."""
    return value.tolist()
