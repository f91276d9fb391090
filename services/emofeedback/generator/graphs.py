"""Small forwards of the transformer as CUDA graphs, one for each shape of their inputs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from emofeedback.cuda_graphs import Recording, record
from emofeedback.observability.metrics import COMPILE_FAILURES

log = logging.getLogger(__name__)

_WARM_UPS = 2


class RecordedForwards:
    """A forward with one tensor as its output, recorded for each shape of its inputs when that is first met.

    Where recording fails, it goes on without, which is said once.
    """

    def __init__(self, forward: Callable[..., Tensor], new_pool: Callable[[], Any]) -> None:
        self._forward = forward
        self._new_pool = new_pool
        self._recordings: dict[tuple[torch.Size, ...], Recording] = {}
        self._pool: Any = None
        self._failed = False

    def __call__(self, **inputs: Tensor) -> Tensor:
        if self._failed:
            return self._forward(**inputs)
        shapes = tuple(inputs[name].shape for name in sorted(inputs))
        if shapes not in self._recordings:
            try:
                self._pool = self._pool or self._new_pool()
                self._recordings[shapes] = record(self._forward, inputs, warm_ups=_WARM_UPS, pool=self._pool)
            except Exception as error:  # whatever a driver or a kernel that can't be recorded raises
                self._failed = True
                COMPILE_FAILURES.record(1)
                log.warning("forwards of few rows can't be recorded and run as they are, slower: %s", error)
                return self._forward(**inputs)
        output: Tensor = self._recordings[shapes].run(inputs)
        return output.clone()

    def forget(self) -> None:
        """After weights have been put elsewhere."""
        self._recordings.clear()
        self._pool = None
