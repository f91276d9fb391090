"""The student's first lessons: from each of its noise levels to the next as the teacher went."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from emofeedback_trainer.core.training_state import TrainingState
from emofeedback_trainer.distillation.config import DistillationConfig
from emofeedback_trainer.distillation.learning import learn, set_rate
from emofeedback_trainer.distillation.objective import ordered, window_loss, window_velocities
from emofeedback_trainer.distillation.shards import CaptionedLatents
from emofeedback_trainer.distillation.student import Student
from emofeedback_trainer.distillation.teacher import HELD_OUT


class WindowLessons:
    """Lessons from trajectories, in a folder of checkpoints from which they go on."""

    def __init__(
        self, student: Student, trajectories: CaptionedLatents, config: DistillationConfig, folder: Path
    ) -> None:
        self._student, self._trajectories, self._config = student, trajectories, config
        self._optimizer = torch.optim.AdamW(student.weights.parameters(), lr=config.learning_rate, weight_decay=0.0)
        self._state = TrainingState(
            folder, {"adapter": student.weights}, {"adamw": self._optimizer}, ema_decay=config.ema_decay
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
            updates=self._config.updates,
            save_every=self._config.save_every,
        )

    def _update(self, update: int) -> float:
        config, steps, sigmas = self._config, self._config.steps, self._student.sigmas
        chosen = HELD_OUT + ordered(len(self._trajectories.captions) - HELD_OUT, config.seed, update, config.batch)
        captions = [self._trajectories.captions[index] for index in chosen.tolist()]
        latents = self._trajectories.latents[chosen].float().to(sigmas.device)
        own = np.random.default_rng((config.seed, update)).random(config.batch) < config.own_states
        states = latents[:, :-1].clone()
        if own.any():
            with torch.no_grad():
                path = self._student.path(latents[own, 0], [captions[place] for place in np.flatnonzero(own)])
            states[own] = torch.stack(path[:-1], dim=1)
        wanted = window_velocities(states, latents[:, 1:], sigmas)
        set_rate(self._optimizer, update, config.updates)
        self._optimizer.zero_grad()
        total = 0.0
        together = max(1, config.micro_batch // steps)
        for first in range(0, config.batch, together):
            part = slice(first, first + together)
            velocities = self._student.velocities(
                states[part].flatten(0, 1), sigmas[:-1].repeat(len(captions[part])), captions[part]
            )
            loss = window_loss(velocities.view_as(states[part]), wanted[part], sigmas)
            loss = loss * len(captions[part]) / config.batch
            torch.autograd.backward(loss)
            total += loss.item()
        nn.utils.clip_grad_norm_(self._student.weights.parameters(), config.max_grad_norm)
        self._optimizer.step()
        return total
