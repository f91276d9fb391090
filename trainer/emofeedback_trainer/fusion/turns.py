"""How the student meets a lesson: which prompt, with whose states behind it, or with none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emofeedback.domain.affect import SCALE_MIDDLE
from emofeedback_trainer.core.condition import Condition
from emofeedback_trainer.distillation.teacher import HELD_OUT
from emofeedback_trainer.fusion.config import FusionConfig
from emofeedback_trainer.fusion.lessons import Lesson
from emofeedback_trainer.fusion.states import NumberStates, States


@dataclass(frozen=True, eq=False, kw_only=True)
class Turn:
    """One reading of a lesson."""

    caption: str
    """The prompt as the student reads it."""
    has_rows: bool
    """Whether the connector's rows stand behind it."""
    feels: bool
    """Whether these are of the states; else they are the null rows."""
    states: Tensor
    """Shape (tokens, width); zeros where it doesn't feel, or where numbers stand for them."""
    point: tuple[float, float]
    """Valence and arousal asked for."""
    variation: int


class Curriculum:
    """The lessons as turns."""

    def __init__(self, lessons: Sequence[Lesson], states: States | None, config: FusionConfig) -> None:
        """`states` are the judge's; None: numbers stand for them, and lessons that are only looked at are left out."""
        self._lessons, self._states, self._config = lessons, states, config
        self._zeros = torch.zeros(states.looked.shape[1:] if states else (1, 1))
        self.learned = torch.tensor(
            [
                index
                for index, lesson in enumerate(lessons)
                if index >= HELD_OUT and (states or lesson.target is None or lesson.variations)
            ]
        )
        """Lessons that are learned from, int64: not the first ones, which are held out."""

    def turn(self, index: int, rng: np.random.Generator) -> Turn:
        """A lesson as the shares of the configuration have it."""
        config, lesson = self._config, self._lessons[index]
        looks, numbered, is_null = rng.random(3) < (config.look_share, config.numbers_share, config.null_share)
        return self._turn(index, looks=looks, numbered=numbered and lesson.target is not None, is_null=is_null)

    def plain_turn(self, index: int) -> Turn:
        """A lesson as it is measured: imagined where it can be, without numbers; null rows where it feels nothing."""
        return self._turn(index, looks=False, numbered=False, is_null=True)

    def _turn(self, index: int, *, looks: bool, numbered: bool, is_null: bool) -> Turn:
        lesson = self._lessons[index]
        target = lesson.target
        caption = Condition(prompt=lesson.prompt, target=target).caption if numbered and target else lesson.prompt
        states, variation = self._zeros, lesson.variations[0] if lesson.variations else 0
        if self._states is not None and target:
            is_looked = lesson.picture is not None and (looks or not lesson.variations)
            states = (self._states.looked if is_looked else self._states.imagined)[index]
            variation = int(self._states.variation[index])
        return Turn(
            caption=caption,
            # Where the adapter stays as it is there is nothing to learn without rows.
            has_rows=target is not None or is_null or not self._config.adapter_rate,
            feels=target is not None,
            states=states,
            point=(target.valence, target.arousal) if target else (SCALE_MIDDLE, SCALE_MIDDLE),
            variation=variation,
        )


def states_of(turns: Sequence[Turn], numbers: NumberStates | None, device: torch.device) -> Tensor:
    """What the connector reads of the turns, shape (turns, tokens, width)."""
    if numbers is None:
        return torch.stack([turn.states for turn in turns]).float().to(device)
    points = torch.tensor([turn.point for turn in turns], device=device)
    states: Tensor = numbers(points, torch.tensor([turn.variation for turn in turns], device=device))
    return states
