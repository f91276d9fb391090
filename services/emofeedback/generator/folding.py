"""On a CPU a policy paints with its change added to the weights.

Kept apart, the change is two small multiplications more for every layer, a quarter of a denoising step of the embedded
generator. The weights without it are put aside, not computed back, so the base model's are the same to the bit after
any policy. On a GPU a copy of the weights for each policy would take too much of its memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from peft.tuners.lora import LoraLayer
from torch import Tensor

_Weights = Mapping[str, Tensor]
"""A layer's weight and, where it has one, its bias."""


class FoldedAdapters:
    """The weights of PEFT's layers with the change of each of their adapters in them. For one thread at a time."""

    def __init__(self) -> None:
        self._own: dict[LoraLayer, _Weights] = {}
        self._folded: dict[str, dict[LoraLayer, _Weights]] = {}

    def take_out(self) -> None:
        """The layers compute with their own weights again; call it before another adapter is loaded."""
        for layer, weights in self._own.items():
            _put(layer, weights)

    def put_in(self, adapter: str, layers: Sequence[LoraLayer]) -> None:
        """A loaded adapter's change comes to the layers' own weights, and it is switched off as one of PEFT's."""
        for layer in layers:
            if not layer.disable_adapters:  # it takes longer than all else here
                layer.enable_adapters(False)
            self._own.setdefault(layer, _weights(layer))
        if adapter not in self._folded:
            self._folded[adapter] = {layer: _changed(layer, adapter) for layer in layers if adapter in layer.lora_A}
        for layer, weights in self._folded[adapter].items():
            _put(layer, weights)

    def forget(self, adapter: str) -> None:
        """It has left the layers."""
        self._folded.pop(adapter, None)


def _weights(layer: LoraLayer) -> _Weights:
    return {name: parameter.data for name, parameter in layer.get_base_layer().named_parameters()}


def _put(layer: LoraLayer, weights: _Weights) -> None:
    for name, parameter in layer.get_base_layer().named_parameters():
        parameter.data = weights[name]


def _changed(layer: LoraLayer, adapter: str) -> _Weights:
    """As PEFT merges it, in tensors of its own."""
    own = _weights(layer)
    _put(layer, {name: weight.clone() for name, weight in own.items()})
    layer.merge(adapter_names=[adapter])
    layer.merged_adapters.clear()  # else PEFT would compute back what is put aside here
    changed = _weights(layer)
    _put(layer, own)
    return changed
