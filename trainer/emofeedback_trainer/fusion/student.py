"""The student: an adapter and a connector that paint from a judge's tokens what the teacher paints from words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from emofeedback.generator.connector import EmotionConnector
from emofeedback.generator.prompts import PromptEncoder
from emofeedback_trainer.core.training_state import TrainingState
from emofeedback_trainer.distillation.learning import learn, path, set_rate
from emofeedback_trainer.distillation.objective import ordered, relative_error, window_velocities, window_weights
from emofeedback_trainer.distillation.teacher import HELD_OUT
from emofeedback_trainer.flow_grpo.batches import Encodings, Inputs
from emofeedback_trainer.flow_grpo.lora import AdaptedTransformer
from emofeedback_trainer.fusion.config import FusionConfig
from emofeedback_trainer.fusion.states import NumberStates
from emofeedback_trainer.fusion.turns import Curriculum, Turn, states_of


class Student:
    """Learns from what the teacher has painted, in a folder of checkpoints from which it goes on."""

    def __init__(
        self,
        transformer: AdaptedTransformer,
        connector: EmotionConnector,
        numbers: NumberStates | None,
        prompts: PromptEncoder,
        curriculum: Curriculum,
        latents: Tensor,
        config: FusionConfig,
        sigmas: Tensor,
        folder: Path,
    ) -> None:
        """The student as it begins, or as the folder's checkpoint has it.

        Args:
            numbers: makes the states from numbers, in the judge's place.
            latents: what the teacher painted of the first lessons, float16, shape (lessons, steps + 1, channels,
                height, width).
            sigmas: the student's noise levels, shape (steps + 1,).
        """
        self._transformer, self._prompts, self._config = transformer, prompts, config
        self._curriculum, self._latents, self._sigmas = curriculum, latents, sigmas.to(transformer.device)
        self._learned = curriculum.learned[curriculum.learned < len(latents)]
        self._weights = window_weights(self._sigmas)
        self._connector, self._numbers = connector, numbers
        self._names = sorted(transformer.weights)
        self._learning: dict[str, nn.Module] = {"connector": connector}
        if numbers is not None:
            self._learning["numbers"] = numbers
        if config.adapter_rate:
            self._learning["adapter"] = nn.ParameterList([transformer.weights[name] for name in self._names])
        else:
            for weight in transformer.weights.values():
                weight.requires_grad_(False)
        rates = {"adapter": config.adapter_rate}
        self._optimizer = torch.optim.AdamW(
            [
                {"params": list(part.parameters()), "lr": rates.get(name, config.learning_rate)}
                for name, part in self._learning.items()
            ],
            weight_decay=0.0,
        )
        self._state = TrainingState(folder, self._learning, {"adamw": self._optimizer}, ema_decay=config.ema_decay)
        self._state.resume()

    @property
    def updates(self) -> int:
        """Updates so far."""
        return self._state.step

    def adapter(self) -> dict[str, Tensor]:
        """The averaged adapter by PEFT's names, float16."""
        averaged = self._state.ema.get("adapter")
        if averaged is None:
            return {name: weight.detach().half() for name, weight in self._transformer.weights.items()}
        return {name: averaged[str(place)].half() for place, name in enumerate(self._names)}

    def averaged(self, part: str) -> dict[str, Tensor]:
        """The averaged weights of `connector` or `numbers`, float32."""
        return self._state.ema[part]

    def learn(self) -> Iterator[float]:
        """As `learning.learn`; gives the error on what was held out (see `error`)."""
        return learn(
            self._state, self._update, self.error, updates=self._config.updates, save_every=self._config.save_every
        )

    def error(self, *, with_tokens: bool = True) -> float:
        """How far the finished latents lie from the teacher's on the held-out lessons that feel
        something, relative to the spread of those; without tokens: with the null rows in their place."""
        turns = {index: turn for index in range(HELD_OUT) if (turn := self._curriculum.plain_turn(index)).feels}
        wanted = self._latents[list(turns)].float()
        read = [replace(turn, feels=with_tokens) for turn in turns.values()]
        return relative_error(self.paint(read, wanted[:, 0]), wanted[:, -1])

    @torch.no_grad()
    def paint(self, turns: Sequence[Turn], noise: Tensor) -> Tensor:
        """Finished latents on the CPU, shape of `noise`."""
        return torch.stack([self._path([turn], noise[place, None])[-1][0] for place, turn in enumerate(turns)]).cpu()

    def _update(self, update: int) -> float:
        config, steps = self._config, self._config.steps
        chosen = self._learned[ordered(len(self._learned), config.seed, update, config.batch)]
        rng = np.random.default_rng((config.seed, update))
        turns = [self._curriculum.turn(index, rng) for index in chosen.tolist()]
        latents = self._latents[chosen].float().to(self._sigmas.device)
        own = rng.random(config.batch) < config.own_states
        windows = torch.from_numpy(
            rng.permuted(np.tile(np.arange(steps), (config.batch, 1)), axis=1)[:, : config.windows]
        )
        set_rate(self._optimizer, update, config.updates)
        self._optimizer.zero_grad()
        total = 0.0
        for places in self._parts(turns):
            some, taken = [turns[place] for place in places], windows[places]
            states = latents[places, :-1].clone()
            if (mine := own[places]).any():
                with torch.no_grad():
                    path = self._path(
                        [turn for turn, is_own in zip(some, mine, strict=True) if is_own], states[mine, 0]
                    )
                states[mine] = torch.stack(path[:-1], dim=1)
            every = torch.arange(len(some))[:, None]
            wanted = window_velocities(states, latents[places, 1:], self._sigmas)[every, taken]
            levels = self._sigmas[:-1][taken].flatten()
            velocities = self._velocities(states[every, taken].flatten(0, 1), levels, some, rows=config.windows)
            errors = (velocities.view_as(wanted) - wanted).square().mean((2, 3, 4))
            loss = (self._weights[taken] * errors).mean() * len(some) / config.batch
            torch.autograd.backward(loss)
            total += loss.item()
        for part in self._learning.values():
            nn.utils.clip_grad_norm_(part.parameters(), config.max_grad_norm)
        self._optimizer.step()
        return total

    def _parts(self, turns: Sequence[Turn]) -> Iterator[list[int]]:
        """Places of the turns that go through one forward: those with rows behind their prompts, and those without."""
        together = max(1, self._config.micro_batch // self._config.windows)
        for has_rows in (True, False):
            places = [place for place, turn in enumerate(turns) if turn.has_rows is has_rows]
            yield from (places[first : first + together] for first in range(0, len(places), together))

    def _path(self, turns: Sequence[Turn], noise: Tensor) -> list[Tensor]:
        """The latents at every noise level, the first and the last among them, of turns that go through one forward."""
        return path(lambda latents, here: self._velocities(latents, here, turns, rows=1), noise, self._sigmas)

    def _velocities(self, latents: Tensor, sigmas: Tensor, turns: Sequence[Turn], *, rows: int) -> Tensor:
        """`rows` of the latents, one after another, belong to each turn."""
        inputs = Inputs(
            latents=latents,
            sigmas=sigmas,
            guidance=torch.ones_like(sigmas),
            groups=torch.arange(len(turns), device=latents.device).repeat_interleave(rows),
            encodings=Encodings(prompt=self._read(turns), negative=None),
        )
        return self._transformer.velocities(inputs)

    def _read(self, turns: Sequence[Turn]) -> tuple[Tensor, Tensor]:
        """What the transformer reads of each turn: tokens, then the connector's rows; and the pooled projection."""
        encoded = [self._prompts.encode(turn.caption) for turn in turns]
        # Copies: no gradient goes through what was made for inference.
        tokens, pooled = (
            torch.stack([getattr(one, name) for one in encoded]).clone().float() for name in ("tokens", "pooled")
        )
        if not turns[0].has_rows:
            return tokens, pooled
        device = self._sigmas.device
        states = states_of(turns, self._numbers, device)
        scales = torch.tensor([float(turn.feels) for turn in turns], device=device)
        rows, change = self._connector(states, scales)
        return torch.cat([tokens, rows], dim=1), pooled + change
