"""The judge's vision tower, taught first on its own: which parts does this picture have?

The head that names them is dropped afterwards; the language stage goes on from the tower.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from emofeedback_trainer.core.training_state import TrainingState, cosine, set_rates
from emofeedback_trainer.nano.models.judge_model import VISUAL_TOKENS, WIDTH, build_model, grids, patches
from emofeedback_trainer.nano.world.album import WORN, mirrored, pictures
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.parts import OUTPUTS, naming_losses, parts_of

STEPS = 5000
PICTURES = 48_000
_BATCH = 64
_SEED = 4
_RATE = 1.0e-3
_LOSS_WEIGHTS = (1.0, 1.0, 2.0)
"""Of choices, extras and the point."""


class Eyes(nn.Module):
    """A vision tower with one linear head on the mean of its tokens."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.head = nn.Linear(WIDTH, OUTPUTS)

    def forward(self, pictures: Tensor) -> Tensor:
        """The head's outputs [B, OUTPUTS] for uint8 pictures [B, 3, 112, 112]."""
        seen = self.tower(patches(pictures), grid_thw=grids(len(pictures), pictures.device)).pooler_output
        logits: Tensor = self.head(seen.float().view(len(pictures), VISUAL_TOKENS, WIDTH).mean(dim=1))
        return logits


def train_eyes(folder: Path, *, steps: int, device: str) -> None:
    """Trains up to `steps`, going on from the checkpoint in `folder/eyes`."""
    torch.manual_seed(_SEED)
    album = pictures(folder, "judge", PICTURES, worn=WORN)
    truth = parts_of([scene_at("judge", index) for index in range(PICTURES)])
    # the tower's shape doesn't depend on the vocabulary, which the language stage trains
    names = ("endoftext", "im_end", "image_pad", "video_pad", "vision_start", "vision_end")
    tower = build_model({f"<|{name}|>": i for i, name in enumerate(names)}, 16).model.visual
    model = Eyes(tower).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    state = TrainingState(folder / "eyes", {"eyes": model}, {"eyes": optimizer}, ema_decay=0.998)
    for step in range(state.resume(), steps):
        set_rates([optimizer], cosine(step, steps, peak=1.0, floor=0.02, warmup=60))
        rng = np.random.default_rng((_SEED, step))
        chosen = np.sort(rng.choice(PICTURES, _BATCH, replace=False))
        images = torch.from_numpy(mirrored(album[chosen], rng)).to(device)
        with torch.autocast(device, torch.bfloat16):
            output = model(images)
        parts = naming_losses(output.float(), truth.select(chosen).to(images.device))
        optimizer.zero_grad()
        torch.autograd.backward((parts * parts.new_tensor(_LOSS_WEIGHTS)).sum())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state.average()
        if step % 25 == 0:
            choices, extras, points = parts.tolist()
            state.log(choices=choices, extras=extras, points=points)
        if step % 250 == 249 or step == steps - 1:
            state.save()
