"""What makes the decoder paint edges as they are drawn: a network that tells decoded crops from drawn ones."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

_WIDTHS = (24, 48, 64, 64)


class RealismLosses(NamedTuple):
    """What the decoder is told, each a scalar."""

    adversarial: Tensor
    """Minus the mean verdict: lower where more of the decoded crops is taken for drawn."""
    features: Tensor
    """Mean absolute difference of the discriminator's features of a decoded crop and of the drawn one."""


class Discriminator(nn.Module):
    """Verdicts on patches of pictures (N, 3, H, W) in [-1, 1]: positive where a patch looks drawn (Isola et al. 2017).

    Every convolution has a spectral norm of one (Miyato et al. 2018), which keeps the verdicts' slope bounded.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *_WIDTHS)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4 if stride == 2 else 3, stride, 1))
            for a, b, stride in zip(widths[:-1], widths[1:], (2, 2, 2, 1), strict=True)
        )
        self.verdict = spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The verdicts (N, 1, H / 8, W / 8), and the features of every layer."""
        features: list[Tensor] = []
        hidden = pictures
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.2)
            features.append(hidden)
        verdicts: Tensor = self.verdict(hidden)
        return verdicts, features


def discriminator_loss(model: Discriminator, drawn: Tensor, decoded: Tensor) -> Tensor:
    """The hinge loss (Lim and Ye 2017): verdicts above 1 on drawn crops and below -1 on decoded ones cost nothing."""
    real, fake = model(torch.cat([drawn, decoded.detach()]))[0].chunk(2)
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def realism_losses(model: Discriminator, drawn: Tensor, decoded: Tensor) -> RealismLosses:
    """What the discriminator makes of decoded crops, beside the drawn ones that they are to be."""
    verdicts, features = model(decoded)
    with torch.no_grad():
        wanted = model(drawn)[1]
    differences = [F.l1_loss(a, b) for a, b in zip(features, wanted, strict=True)]
    return RealismLosses(adversarial=-verdicts.mean(), features=torch.stack(differences).mean())
