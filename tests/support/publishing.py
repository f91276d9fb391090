"""Several processes that publish policies of their own under the same names at the same time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import ModelInfo
from emofeedback_trainer.core.publish import publish
from support.forked_command import CONTEXT

BASE = ModelInfo(name="tiny", digest="sha256:" + "1" * 64)


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    parts = {"A": (2, 40), "B": (40, 2)}
    return {f"x.lora_{part}.weight": torch.randn(shape, generator=generator) for part, shape in parts.items()}


def publish_at_once(store: str, names: Sequence[str], processes: int) -> list[dict[str, str]]:
    """Digests by name, of what each process could publish."""
    barrier, kept = CONTEXT.Barrier(processes), CONTEXT.Queue()
    arguments = (store, names, barrier, kept, dict(os.environ))
    workers = [CONTEXT.Process(target=_work, args=(number, *arguments)) for number in range(processes)]
    for worker in workers:
        worker.start()
    found = [kept.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join()
    return found


def _work(process: int, store: str, names: Sequence[str], barrier: Any, kept: Any, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    done = {}
    for name in names:
        barrier.wait(timeout=300)
        if digest := _published(process, store, name):
            done[name] = digest
    kept.put(done)


def _published(process: int, store: str, name: str) -> str:
    try:
        return publish(store, name, weights(process), rank=2, alpha=2, base=BASE, run=f"run-{process}", step=0).digest
    except FailedPrecondition as error:
        assert f"policy {name!r} is published already" in str(error), error
        return ""
