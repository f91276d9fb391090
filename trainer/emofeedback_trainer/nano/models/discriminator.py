"""What makes the decoder paint edges as they are drawn: a network that tells decoded crops from drawn ones.

It looks at them in two sizes. In full size its first layer sees every pixel, so that fine stripes beside an edge, which
coarser eyes let pass, count against the decoder as well.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

_WIDTHS = (16, 32, 64, 96)


class RealismLosses(NamedTuple):
    """What the decoder is told, each a scalar."""

    adversarial: Tensor
    """Minus the mean verdict: lower where more of the decoded crops is taken for drawn."""
    features: Tensor
    """Mean absolute difference of the discriminator's features of a decoded crop and of the drawn one."""


class Discriminator(nn.Module):
    """Verdicts on patches of pictures (N, 3, H, W) in [-1, 1], in full and in half size: positive where a patch looks
    drawn (Isola et al. 2017; two sizes: Wang et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = nn.ModuleList([_Patches(), _Patches()])

    def forward(self, pictures: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The verdicts (N, 1, H / 8, W / 8) and (N, 1, H / 16, W / 16), and the features of every layer."""
        verdicts, features = [], []
        for patches, seen in zip(self.sizes, (pictures, F.avg_pool2d(pictures, 2)), strict=True):
            verdict, hidden = patches(seen)
            verdicts.append(verdict)
            features += hidden
        return verdicts, features


class _Patches(nn.Module):
    """Every convolution has a spectral norm of one (Miyato et al. 2018), which keeps the verdicts' slope bounded."""

    def __init__(self) -> None:
        super().__init__()
        before, after = (3, *_WIDTHS), (*_WIDTHS, _WIDTHS[-1])
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4 if stride == 2 else 3, stride, 1))
            for a, b, stride in zip(before, after, (1, 2, 2, 2, 1), strict=True)
        )
        self.verdict = spectral_norm(nn.Conv2d(_WIDTHS[-1], 1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        features: list[Tensor] = []
        hidden = pictures
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.2)
            features.append(hidden)
        verdicts: Tensor = self.verdict(hidden)
        return verdicts, features


def discriminator_loss(model: Discriminator, drawn: Tensor, decoded: Tensor) -> Tensor:
    """The hinge loss (Lim and Ye 2017), added up over both sizes: verdicts above 1 on drawn crops and below -1 on
    decoded ones cost nothing. As many of either sort."""
    verdicts, _ = model(torch.cat([drawn, decoded.detach()]))
    halves = [verdict.float().chunk(2) for verdict in verdicts]
    return torch.stack([F.relu(1 - real).mean() + F.relu(1 + fake).mean() for real, fake in halves]).sum()


def realism_losses(model: Discriminator, drawn: Tensor, decoded: Tensor) -> RealismLosses:
    """What the discriminator makes of decoded crops, the first of which are to be the drawn ones."""
    verdicts, features = model(decoded)
    with torch.no_grad():
        _, wanted = model(drawn)
    pairs = zip(features, wanted, strict=True)
    differences = [F.l1_loss(made[: len(drawn)].float(), aim.float()) for made, aim in pairs]
    return RealismLosses(
        adversarial=-torch.stack([verdict.float().mean() for verdict in verdicts]).mean(),
        features=torch.stack(differences).mean(),
    )
