"""CUDA graphs: what a GPU does in a forward is recorded once and then told with one call.

A forward of few rows is thousands of kernels that take less time than it takes to launch them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """One forward for inputs of certain shapes."""

    inputs: Mapping[str, Any]
    """Tensors, also those in a dictionary among them, are the places that the recording reads."""
    output: Any
    """What it writes, each time into the same place."""
    replay: Callable[[], None]

    def run(self, inputs: Mapping[str, Any]) -> Any:
        """The output for other values of the same shapes; valid until the next replay."""
        _fill(self.inputs, inputs)
        self.replay()
        return self.output


def record(forward: Callable[..., Any], inputs: Mapping[str, Any], *, warm_ups: int, pool: Any = None) -> Recording:
    """Records a forward on the current CUDA device; recording does nothing of it.

    Args:
        forward: reads its inputs and its weights where they lie now, each time, and waits for nothing.
        inputs: all but tensors is taken as it is now.
        warm_ups: forwards before, by which all is done that is done once only, such as compiling.
        pool: `torch.cuda.graph_pool_handle` of recordings that are never replayed at once and whose outputs are read
            before the next replay; None: memory of its own.
    """
    places: dict[str, Any] = _places(inputs)
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(warm_ups):
            forward(**places)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    # Of this thread alone: another one may ask for memory, or wait for a picture, meanwhile.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        output = forward(**places)
    return Recording(inputs=places, output=output, replay=graph.replay)


def _places(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return {key: _places(inner) for key, inner in value.items()} if type(value) is dict else value


def _fill(places: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for name, place in places.items():
        if isinstance(place, Tensor):
            place.copy_(values[name])
        elif type(place) is dict:
            _fill(place, values[name])
