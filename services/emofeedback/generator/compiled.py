"""Compiled transformer blocks, in which adapters are exchanged without compiling again.

A compiled block is bound to the modules that it was made of, and PEFT adds modules with every adapter. So here a linear
layer gets one place for a low-rank change, as wide as the widest adapter so far, and another policy is other numbers in
that place. Only an adapter of more layers or of a higher rank than all before it makes the blocks be compiled again.

Where compiling fails the blocks go on as they are, which is said once. Since all adapters compute in the same places,
forwards of few rows are CUDA graphs on a GPU (`graphs`), compiled or not.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from emofeedback.generator.graphs import RecordedForwards
from emofeedback.observability.console import say
from emofeedback.observability.metrics import COMPILE_FAILURES

log = logging.getLogger(__name__)

_BACKEND = "inductor"
_RANK = 32
"""Rank of the first places: what Flow-GRPO's adapters have. A narrower one is filled up with zeros."""
_RECORDED_ROWS = 8
"""Rows of the largest forward that is a CUDA graph: from 16 on, the GPU is busy for longer than launching takes."""


class ChangeableLinear(nn.Linear):
    """A linear layer with a place for a low-rank change."""

    down: Tensor
    """Shape (rank, in)."""
    up: Tensor
    """Shape (out, rank); zeros change nothing."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + F.linear(F.linear(input, self.down), self.up)


@dataclass(frozen=True, eq=False, kw_only=True)
class LowRank:
    """What an adapter adds to one layer's weights, `up @ down`."""

    down: Tensor
    """Shape (rank, in)."""
    up: Tensor
    """Shape (out, rank), times the adapter's scale."""


def low_rank_changes(
    weights: Mapping[str, Tensor], metadata: Mapping[str, Any] | None, transformer: SD3Transformer2DModel
) -> dict[str, LowRank]:
    """The changes of an adapter's file by layer, in the transformer's number format and on its device.

    Args:
        weights: by PEFT's names, `transformer.<layer>.lora_A.weight` and `lora_B.weight`.
        metadata: PEFT's configuration under the prefix `transformer.`; None: the scale is 1.

    Raises:
        ValueError: it is no plain low-rank adapter of the transformer's linear layers; or holds NaN or infinity.
    """
    settings = metadata or {}
    unknown = [
        key for key in ("rank_pattern", "alpha_pattern", "use_dora", "use_rslora") if settings.get(f"transformer.{key}")
    ]
    if unknown:
        raise ValueError(
            f"its {unknown[0]} can't be used with compiled blocks: set generator.compile_blocks to 'never'"
        )
    layers = dict(transformer.named_modules())
    names = {key.removeprefix("transformer.").rsplit(".lora_", 1)[0] for key in weights}
    changes = {}
    for name in sorted(names):
        down, up = (weights.get(f"transformer.{name}.lora_{side}.weight") for side in "AB")
        layer = layers.get(name)
        if not isinstance(layer, nn.Linear):
            raise ValueError(f"has no place for {name}")
        if down is None or up is None:
            raise ValueError(f"lacks a factor of {name}")
        rank = len(down)
        if down.shape != (rank, layer.in_features) or up.shape != (layer.out_features, rank):
            raise ValueError(f"{name} has the shapes {tuple(down.shape)} and {tuple(up.shape)}")
        scale = settings.get("transformer.lora_alpha", rank) / rank
        change = LowRank(down=down.to(layer.weight), up=(up.float() * scale).to(layer.weight))
        if not (change.down.isfinite().all() and change.up.isfinite().all()):
            raise ValueError(f"has NaN or infinity in {name}")
        changes[name] = change
    if 2 * len(changes) != len(weights):
        raise ValueError("holds something else than pairs of lora_A.weight and lora_B.weight")
    return changes


class CompiledBlocks:
    """One transformer with compiled blocks. For one thread at a time.

    Args:
        try_out: runs the transformer in the sizes in which it will be used.
    """

    def __init__(self, transformer: SD3Transformer2DModel, try_out: Callable[[], None]) -> None:
        self._transformer = transformer
        self._try_out = try_out
        self._places: dict[str, ChangeableLinear] = {}
        self._rank = 0
        self._recorded: RecordedForwards | None = None
        if transformer.device.type == "cuda":
            self._recorded = RecordedForwards(self._velocities, torch.cuda.graph_pool_handle)
        self.compiled = True
        """False once compiling has failed."""
        for block in transformer.transformer_blocks:
            block.compile(dynamic=True, backend=_BACKEND)
        self._compile()

    def forward(self, **inputs: Tensor) -> Tensor:
        """The transformer's velocities for the inputs that it takes."""
        if self._recorded is None or len(inputs["hidden_states"]) > _RECORDED_ROWS:
            return self._velocities(**inputs)
        return self._recorded(**inputs)

    def _velocities(self, **inputs: Tensor) -> Tensor:
        velocities: Tensor = self._transformer(**inputs, return_dict=False)[0]
        return velocities

    @torch.no_grad()
    def exchange(self, changes: Mapping[str, LowRank]) -> None:
        """Puts an adapter in the place of the one before; without changes the base weights compute."""
        rank = max([_RANK, *(len(change.down) for change in changes.values())]) if changes else 0
        if rank > self._rank or not changes.keys() <= self._places.keys():
            self._make_places(changes.keys() | self._places.keys(), max(rank, self._rank))
            self._compile()
        for name, place in self._places.items():
            place.up.zero_()
            if change := changes.get(name):
                rank = len(change.down)
                place.down[:rank].copy_(change.down)
                place.up[:, :rank].copy_(change.up)

    def _make_places(self, names: set[str], rank: int) -> None:
        if self._recorded is not None:
            self._recorded.forget()
        self._rank = rank
        layers = dict(self._transformer.named_modules())
        for name in names:
            layer = layers[name]
            layer.__class__ = ChangeableLinear
            weight = layer.weight
            layer.register_buffer("down", weight.new_zeros(rank, weight.shape[1]), persistent=False)
            layer.register_buffer("up", weight.new_zeros(weight.shape[0], rank), persistent=False)
            self._places[name] = layer

    def _compile(self) -> None:
        """Runs the blocks once, which compiles them where they have not been as they are now."""
        if not self.compiled:
            return
        began = time.monotonic()
        say("compiling the transformer's blocks; this takes a minute or less", sys.stderr)
        try:
            self._try_out()
        except Exception as error:  # whatever a compiler, a driver or a missing header raises
            self.compiled = False
            for block in self._transformer.transformer_blocks:
                block._compiled_call_impl = None
            COMPILE_FAILURES.record(1)
            log.warning("the transformer's blocks can't be compiled and run as they are, slower: %s", _in_short(error))
        else:
            say(f"the transformer's blocks were compiled in {time.monotonic() - began:.0f} s", sys.stderr)


def _in_short(error: Exception) -> str:
    return shorten(f"{type(error).__name__}: {error}", 200)
