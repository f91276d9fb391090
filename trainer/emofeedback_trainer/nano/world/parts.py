"""A scene's parts as labels: what a picture tower learns to name before, or beside, what it is for.

Sixty labels a picture instead of one reply's few tokens: that is what makes a tower trainable in minutes on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from emofeedback_trainer.nano.world.scenes import EXPRESSIONS, EXTRAS, LIGHTS, PLACES, SUBJECTS, WEATHERS, Scene, affect

_CHOICES = (SUBJECTS, PLACES, WEATHERS, ("", *EXPRESSIONS), ("", *LIGHTS))
_SIZES = [*map(len, _CHOICES), len(EXTRAS), 2]
OUTPUTS = sum(_SIZES)
"""Width of a head that names the parts: logits of each choice, of each extra, and the scaled point."""


@dataclass(frozen=True)
class Parts:
    """The labels of B scenes."""

    choices: Tensor
    """Indices of subject, place, weather, expression and light, [B, 5]."""
    extras: Tensor
    """0 or 1 for each extra, [B, 13]."""
    points: Tensor
    """Valence and arousal, [B, 2], scaled to about [-2, 2]."""

    def select(self, rows: NDArray[np.integer[Any]]) -> Parts:
        """The labels of some of the scenes."""
        index = torch.from_numpy(rows)
        return Parts(self.choices[index], self.extras[index], self.points[index])

    def to(self, device: torch.device) -> Parts:
        """The same on another device."""
        return Parts(self.choices.to(device), self.extras.to(device), self.points.to(device))


def parts_of(scenes: Sequence[Scene]) -> Parts:
    """The labels of scenes."""
    chosen = [
        [
            options.index(value)
            for options, value in zip(_CHOICES, (s.subject, s.place, s.weather, s.expression, s.light), strict=True)
        ]
        for s in scenes
    ]
    extras = [[float(extra in s.extras) for extra in EXTRAS] for s in scenes]
    points = [[(p.valence - 5.0) / 2.0, (p.arousal - 5.0) / 2.0] for p in map(affect, scenes)]
    return Parts(torch.tensor(chosen), torch.tensor(extras), torch.tensor(points))


def naming_losses(output: Tensor, truth: Parts) -> Tensor:
    """Three losses of a head's output [B, OUTPUTS]: choices (cross-entropy), extras (binary), points (squared)."""
    *logits, extras, points = torch.split(output, _SIZES, dim=1)
    choices = [F.cross_entropy(one, truth.choices[:, i]) for i, one in enumerate(logits)]
    named = F.binary_cross_entropy_with_logits(extras, truth.extras, reduction="none").sum(dim=1).mean()
    return torch.stack([torch.stack(choices).sum(), named, F.mse_loss(points, truth.points)])
