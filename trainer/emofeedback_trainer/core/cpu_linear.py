"""Linear layers for training adapters on CPUs: oneDNN's matrix products in place of MKL's, in the same float32.

Torch gives float32 products to MKL, which on CPUs other than Intel's leaves half of the vector units unused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx


class FrozenLinear(nn.Linear):
    """A linear layer whose own weights don't learn: a gradient flows through it to its input alone.

    Measured with 896 rows of 160, one core with AVX-512 (AMD Zen 5), torch 2.13: forwards 202 GFLOPS instead of 97,
    forward and backward .56 ms instead of 1.14.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `nn.Linear`'s, but for rounding; float32 on a CPU."""
        product: Tensor = _Product.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return product


def products_by_onednn(model: nn.Module) -> None:
    """Makes every plain linear layer of a frozen float32 model on a CPU a `FrozenLinear`; none where torch was built
    without oneDNN."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = FrozenLinear


class _Product(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _product(gradients[0], weight.t(), None), None, None


def _product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return product
