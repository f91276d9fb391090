"""What tells finished latents from those of real pictures, and what the student learns of it.

Adversarial losses on latents beside a distillation's own, after Sauer et al. 2024 (LADD, arXiv 2403.12015). There a
teacher's features judge, here a small network does; in place of a gradient penalty it is to stay calm around a latent
(the approximated R1 of Lin et al. 2025, arXiv 2501.08316).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WIDTHS = (64, 64, 128, 128, 128)
_STRIDES = (1, 1, 2, 1, 2)
_GROUPS = 8
_TREMBLE = 0.05
"""Standard deviation of the noise under which a verdict is to stay; finished latents have about unit variance."""


class Discriminator(nn.Module):
    """Verdicts on latents (N, channels, height, width): logits, positive where one looks real.

    Patches are judged in full, half and quarter size, and the whole by mean and spread of the last features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        before = (channels, *_WIDTHS[:-1])
        self.layers = nn.ModuleList(
            _layer(a, b, stride, first=place == 0)
            for place, (a, b, stride) in enumerate(zip(before, _WIDTHS, _STRIDES, strict=True))
        )
        self.patches = nn.ModuleDict({str(place): nn.Conv2d(_WIDTHS[place], 1, 1) for place in (1, 3, 4)})
        self.whole = nn.Sequential(nn.Linear(2 * _WIDTHS[-1], 64), nn.SiLU(), nn.Linear(64, 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, latents: Tensor) -> list[Tensor]:
        """Three maps of verdicts, and one verdict (N, 1) of the whole; float32."""
        verdicts = []
        hidden = latents.contiguous(memory_format=torch.channels_last)
        with torch.autocast(latents.device.type, torch.bfloat16):
            for place, layer in enumerate(self.layers):
                hidden = layer(hidden)
                if str(place) in self.patches:
                    verdicts.append(self.patches[str(place)](hidden).float())
            verdicts.append(self.whole(torch.cat([hidden.mean((2, 3)), hidden.std((2, 3))], dim=1)).float())
        return verdicts


def _layer(before: int, after: int, stride: int, *, first: bool) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 4 if stride == 2 else 3, stride, 1)
    return nn.Sequential(convolution, *([] if first else [nn.GroupNorm(_GROUPS, after)]), nn.SiLU())


def discriminator_loss(model: Discriminator, real: Tensor, painted: Tensor, random: torch.Generator) -> Tensor:
    """How wrong its verdicts are, and how much they move where a little noise is laid on the latents; a scalar.

    Args:
        real: shape (N, channels, height, width).
        painted: shape (M, channels, height, width); no gradient flows into them.
        random: of the noise, on the CPU.
    """
    latents = torch.cat([real, painted.detach()])
    noise = torch.randn(latents.shape, generator=random).to(latents.device)
    trembling = model(latents + _TREMBLE * noise)
    losses = [
        F.softplus(-verdict[: len(real)]).mean()
        + F.softplus(verdict[len(real) :]).mean()
        + (verdict[: len(real)] - moved[: len(real)]).square().mean()
        + (verdict[len(real) :] - moved[len(real) :]).square().mean()
        for verdict, moved in zip(model(latents), trembling, strict=True)
    ]
    return torch.stack(losses).mean()


def realism_loss(model: Discriminator, painted: Tensor) -> Tensor:
    """How unreal the verdicts call painted latents, a scalar: 0.69 where they can't tell."""
    return torch.stack([F.softplus(-verdict).mean() for verdict in model(painted)]).mean()
