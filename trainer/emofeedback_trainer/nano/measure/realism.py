"""How many generated pictures pass for drawn ones, by networks of the independent judge's size trained to tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from emofeedback_trainer.nano.models.independent_judge import IndependentJudgeNetwork

_BATCH = 32
_PASSING = 0.9
"""Share of drawn pictures that pass for what they are."""


class _Detective(nn.Module):
    """The independent judge's network with one answer: the logit of "drawn"."""

    def __init__(self) -> None:
        super().__init__()
        self.network = IndependentJudgeNetwork()
        self.network.heads = nn.ModuleDict({"drawn": nn.Linear(2 * 160, 1)})

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)["drawn"][:, 0]
        return logits


def share_called_drawn(
    generated: Sequence[Image.Image], drawn: Sequence[Image.Image], *, steps: int, seeds: Sequence[int]
) -> float:
    """Share in [0, 1] of the second half of `generated` that looks drawn enough to networks taught on the first halves;
    0.9 where nothing can be told.

    Enough is what nine of ten of the second half of `drawn` are. After so few steps a network leans to one answer or
    the other, which is chance, so its own middle says little, and the share is the mean of several networks'.

    Args:
        seeds: one for each network.
    """
    halves = _tensor(generated), _tensor(drawn)
    return float(np.mean([_share_passing(*halves, steps, seed) for seed in seeds]))


def _share_passing(generated: Tensor, drawn: Tensor, steps: int, seed: int) -> float:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    halves = (generated, drawn)
    middle = [len(half) // 2 for half in halves]
    model = _Detective()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    truth = torch.cat([torch.zeros(_BATCH // 2), torch.ones(_BATCH // 2)])
    for _ in range(steps):
        rows = [rng.integers(0, m, _BATCH // 2) for m in middle]
        batch = torch.cat([half[row] for half, row in zip(halves, rows, strict=True)])
        if rng.random() < 0.5:
            batch = batch.flip(3)
        loss = F.binary_cross_entropy_with_logits(model(batch), truth)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        painted, real = (model(half[m:]) for half, m in zip(halves, middle, strict=True))
    return float((painted >= real.quantile(1 - _PASSING)).float().mean())


def _tensor(pictures: Sequence[Image.Image]) -> Tensor:
    values = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    return torch.from_numpy(values).permute(0, 3, 1, 2).float() / 127.5 - 1.0
