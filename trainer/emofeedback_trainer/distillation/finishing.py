"""The student's last lessons: what it paints is to be taken for real, and to stay what its teacher painted.

One step over each of the teacher's windows leaves what no step can say exactly to its mean: soft edges, lumps, pale or
fierce colors. So a discriminator learns to tell the student's finished latents from those of real pictures of the same
captions, and the student learns what passes. On the teacher's own prompts its latents stay near the teacher's, so that
what reinforcement taught is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofeedback_trainer.core.training_state import TrainingState
from emofeedback_trainer.distillation.config import DistillationConfig
from emofeedback_trainer.distillation.discriminator import Discriminator, discriminator_loss, realism_loss
from emofeedback_trainer.distillation.learning import learn, set_rate
from emofeedback_trainer.distillation.objective import ordered
from emofeedback_trainer.distillation.shards import CaptionedLatents
from emofeedback_trainer.distillation.student import Student
from emofeedback_trainer.distillation.teacher import HELD_OUT

_WARMUP = 30


class Finishing:
    """Lessons beside real pictures, in a folder of checkpoints from which they go on."""

    def __init__(
        self,
        student: Student,
        trajectories: CaptionedLatents,
        pictures: CaptionedLatents,
        config: DistillationConfig,
        folder: Path,
    ) -> None:
        """`pictures` are the real ones, shape (pictures, channels, height, width)."""
        self._student, self._trajectories, self._pictures = student, trajectories, pictures
        self._config, self._finish = config, config.finish
        torch.manual_seed(config.seed)
        self._discriminator = Discriminator(pictures.latents.shape[1]).to(student.sigmas.device)
        rates = self._finish.learning_rate, self._finish.discriminator_rate
        self._painting = torch.optim.AdamW(
            student.weights.parameters(), lr=rates[0], betas=(0.5, 0.99), weight_decay=0.0
        )
        self._telling = torch.optim.Adam(self._discriminator.parameters(), lr=rates[1], betas=(0.0, 0.99))
        self._state = TrainingState(
            folder,
            {"adapter": student.weights, "discriminator": self._discriminator},
            {"adamw": self._painting, "discriminator": self._telling},
            ema_decay=self._finish.ema_decay,
        )
        self._state.resume()

    @property
    def updates(self) -> int:
        """Updates so far."""
        return self._state.step

    def learn(self) -> Iterator[float]:
        """As `learning.learn`; gives the student's error."""
        return learn(
            self._state,
            self._update,
            lambda: self._student.error(self._trajectories),
            updates=self._finish.updates,
            save_every=self._config.save_every,
        )

    def _update(self, update: int) -> float:
        """One of the discriminator and, behind its head start, one of the student; gives what the student was told."""
        finish, device = self._finish, self._student.sigmas.device
        rng, random = np.random.default_rng((self._config.seed, update)), torch.Generator().manual_seed(update)
        drawn = torch.from_numpy(rng.integers(len(self._pictures.captions), size=finish.batch))
        held = len(self._trajectories.captions) - HELD_OUT
        captions, real = _rows(self._pictures, drawn)
        kept, taught = _rows(self._trajectories, HELD_OUT + ordered(held, self._config.seed, update, finish.kept))
        noise = torch.cat([torch.randn(real.shape, generator=random), taught[:, 0]]).to(device)
        learns = update >= finish.head_start
        with nullcontext() if learns else torch.no_grad():
            painted = self._student.path(noise, captions + kept)[-1]
        told = discriminator_loss(self._discriminator, real.to(device), painted[: finish.batch], random)
        self._telling.zero_grad()
        torch.autograd.backward(told)
        self._telling.step()
        realism = realism_loss(self._discriminator, painted[: finish.batch])
        if learns:
            away = F.mse_loss(painted[finish.batch :], taught[:, -1].to(device))
            self._paint_better(away + finish.realism * realism, update)
        return realism.item()

    def _paint_better(self, loss: Tensor, update: int) -> None:
        finish = self._finish
        done, to_do = update - finish.head_start, finish.updates - finish.head_start
        set_rate(self._painting, done, to_do, warmup=_WARMUP)
        self._painting.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._student.weights.parameters(), self._config.max_grad_norm)
        self._painting.step()


def _rows(of: CaptionedLatents, chosen: Tensor) -> tuple[list[str], Tensor]:
    """Captions and float32 latents of some rows."""
    return [of.captions[row] for row in chosen.tolist()], of.latents[chosen].float()
