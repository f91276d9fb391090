"""The student: a LoRA adapter on the teacher's transformer, which takes one step where the teacher takes several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from emofeedback.generator.prompts import PromptEncoder
from emofeedback_trainer.core.training_state import TrainingState
from emofeedback_trainer.distillation.config import DistillationConfig
from emofeedback_trainer.distillation.learning import learn, path, set_rate
from emofeedback_trainer.distillation.objective import ordered, relative_error, window_loss, window_velocities
from emofeedback_trainer.distillation.teacher import HELD_OUT, Trajectories
from emofeedback_trainer.flow_grpo.batches import Encodings, Inputs
from emofeedback_trainer.flow_grpo.lora import AdaptedTransformer


class Student:
    """Learns from trajectories, in a folder of checkpoints from which it goes on."""

    def __init__(
        self,
        transformer: AdaptedTransformer,
        prompts: PromptEncoder,
        trajectories: Trajectories,
        config: DistillationConfig,
        sigmas: Tensor,
        folder: Path,
    ) -> None:
        """`sigmas` are the student's noise levels, shape (steps + 1,)."""
        self._transformer, self._prompts, self._config = transformer, prompts, config
        self._trajectories, self._sigmas = trajectories, sigmas.to(transformer.device)
        self._names = sorted(transformer.weights)
        self._adapter = nn.ParameterList([transformer.weights[name] for name in self._names])
        self._optimizer = torch.optim.AdamW(self._adapter.parameters(), lr=config.learning_rate, weight_decay=0.0)
        self._state = TrainingState(
            folder, {"adapter": self._adapter}, {"adamw": self._optimizer}, ema_decay=config.ema_decay
        )
        self._state.resume()

    @property
    def updates(self) -> int:
        """Updates so far."""
        return self._state.step

    def adapter(self) -> dict[str, Tensor]:
        """The averaged adapter by PEFT's names, float16."""
        averaged = self._state.ema["adapter"]
        return {name: averaged[str(place)].half() for place, name in enumerate(self._names)}

    def learn(self) -> Iterator[float]:
        """Learns to the last update; gives the error on what was held out (see `error`) at every checkpoint."""
        return learn(
            self._state, self._update, self.error, updates=self._config.updates, save_every=self._config.save_every
        )

    def error(self) -> float:
        """How far the averaged student's finished latents lie from the teacher's on the held-out trajectories, relative
        to the spread of those."""
        wanted = self._trajectories.latents[:HELD_OUT].float()
        painted = self.paint(self._trajectories.captions[:HELD_OUT], wanted[:, 0])
        return relative_error(painted, wanted[:, -1])

    @torch.no_grad()
    def paint(self, captions: Sequence[str], noise: Tensor) -> Tensor:
        """The averaged student's finished latents on the CPU, shape of `noise`."""
        with self._state.averaged():
            parts = [
                self._path(noise[place : place + self._config.batch], captions[place : place + self._config.batch])[-1]
                for place in range(0, len(captions), self._config.batch)
            ]
        return torch.cat(parts).cpu()

    def _update(self, update: int) -> float:
        config, steps = self._config, self._config.steps
        chosen = HELD_OUT + ordered(len(self._trajectories.captions) - HELD_OUT, config.seed, update, config.batch)
        captions = [self._trajectories.captions[index] for index in chosen.tolist()]
        latents = self._trajectories.latents[chosen].float().to(self._sigmas.device)
        own = np.random.default_rng((config.seed, update)).random(config.batch) < config.own_states
        states = latents[:, :-1].clone()
        if own.any():
            with torch.no_grad():
                path = self._path(latents[own, 0], [captions[place] for place in np.flatnonzero(own)])
            states[own] = torch.stack(path[:-1], dim=1)
        wanted = window_velocities(states, latents[:, 1:], self._sigmas)
        set_rate(self._optimizer, update, config.updates)
        self._optimizer.zero_grad()
        total = 0.0
        together = max(1, config.micro_batch // steps)
        for first in range(0, config.batch, together):
            part = slice(first, first + together)
            velocities = self._velocities(
                states[part].flatten(0, 1), self._sigmas[:-1].repeat(len(captions[part])), captions[part], rows=steps
            )
            loss = window_loss(velocities.view_as(states[part]), wanted[part], self._sigmas)
            loss = loss * len(captions[part]) / config.batch
            torch.autograd.backward(loss)
            total += loss.item()
        nn.utils.clip_grad_norm_(self._adapter.parameters(), config.max_grad_norm)
        self._optimizer.step()
        return total

    def _path(self, noise: Tensor, captions: Sequence[str]) -> list[Tensor]:
        """The latents at every noise level, the first and the last among them."""
        return path(lambda latents, here: self._velocities(latents, here, captions, rows=1), noise, self._sigmas)

    def _velocities(self, latents: Tensor, sigmas: Tensor, captions: Sequence[str], *, rows: int) -> Tensor:
        """Without guidance; `rows` of the latents, one after another, belong to each caption."""
        encoded = [self._prompts.encode(caption) for caption in captions]
        tokens, pooled = (torch.stack([getattr(one, name) for one in encoded]).clone() for name in ("tokens", "pooled"))
        groups = torch.arange(len(captions), device=latents.device).repeat_interleave(rows)
        inputs = Inputs(
            latents=latents,
            sigmas=sigmas,
            guidance=torch.ones_like(sigmas),
            groups=groups,
            encodings=Encodings(prompt=(tokens, pooled), negative=None),
        )
        return self._transformer.velocities(inputs)
