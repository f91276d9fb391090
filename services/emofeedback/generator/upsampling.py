"""A tiny autoencoder's decoder on a CPU: each doubling and the convolution behind it in one operation, and nothing
computed that the last convolution does not read.

Nearest-neighbor doubling repeats every value four times, so a 3 x 3 convolution behind it multiplies most values more
than once by weights that could have been added up before: a transposed convolution of 4 x 4 weights with stride 2 gives
the same sums with 4/9 of the multiplications, and never writes the doubled picture.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

_SUMS = ((0, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 0))
"""Which of three neighboring weights meet the same value, for each of the four that take their place."""


def double_in_one(autoencoder: AutoencoderTiny) -> None:
    """Replaces every nearest-neighbor doubling of the decoder that a 3 x 3 convolution follows, and leaves out channels
    before the last convolution that it has no weights for.

    Sums are in another order: levels of a picture differ by one at most, in 3 of 100,000 values of the embedded model.
    """
    autoencoder.to(memory_format=torch.channels_last)
    layers = autoencoder.decoder.layers
    if isinstance(layers[-2], nn.Conv2d) and isinstance(layers[-1], nn.Conv2d):
        layers[-2], layers[-1] = _without_unread(layers[-2], layers[-1])
    for place, (doubling, convolution) in enumerate(pairwise(list(layers))):
        if _doubles(doubling) and isinstance(convolution, nn.Conv2d) and convolution.kernel_size == (3, 3):
            layers[place], layers[place + 1] = nn.Identity(), _transposed(convolution)


def _without_unread(first: nn.Conv2d, second: nn.Conv2d) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Two convolutions, one behind the other, without the channels between them that the second multiplies by zero."""
    read = second.weight.detach().abs().amax(dim=(0, 2, 3)) > 0
    bias = None if first.bias is None else first.bias[read]
    return _convolution(first.weight[read], bias), _convolution(second.weight[:, read], second.bias)


def _convolution(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A 3 x 3 convolution of the weights."""
    made = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=bias is not None)
    made.weight = nn.Parameter(weight.detach().contiguous(memory_format=torch.channels_last), requires_grad=False)
    made.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
    return made


def _doubles(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Upsample) and layer.mode == "nearest" and layer.scale_factor == 2


def _transposed(convolution: nn.Conv2d) -> nn.ConvTranspose2d:
    weight = convolution.weight.detach()
    sums = torch.tensor(_SUMS, dtype=weight.dtype, device=weight.device)
    summed: Tensor = torch.einsum("ar,oirc,bc->ioab", sums, weight, sums)
    made = nn.ConvTranspose2d(
        convolution.in_channels, convolution.out_channels, 4, 2, 1, bias=convolution.bias is not None
    )
    made.weight = nn.Parameter(summed.contiguous(memory_format=torch.channels_last), requires_grad=False)
    made.bias = convolution.bias
    return made
