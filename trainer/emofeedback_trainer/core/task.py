"""A task: what a policy is trained for, and what it is measured on.

A run's configuration names its task: `nano`, `module:attribute` of any importable `Task`, or a JSON lines file of one's
own prompts, of which every eighth is held out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import LIMITS
from emofeedback.storage.texts import read_lines
from emofeedback_trainer.core.dotted import DOTTED, imported
from emofeedback_trainer.core.pairs import MOST_PAIRS, Pair, spread_pairs

TASKS = {
    "nano": "emofeedback_trainer.nano.task:TASK",
    "nano-emotional": "emofeedback_trainer.nano.emotional_task:EMOTIONAL_TASK",
    "nano-panel": "emofeedback_trainer.nano.task:PANEL_TASK",
    "nano-fresh": "emofeedback_trainer.nano.task:FRESH_TASK",
}
"""Short names of the tasks that come with the trainer."""
_HELD_OUT = 8
"""One of so many different prompts of a file is held out."""
_OTHER_TARGETS = 7
"""Turns by which the panel's targets differ from the evaluation's."""


class Reading(Protocol):
    """What an independent judge sees in one picture; valence and arousal on the 1-9 scale."""

    @property
    def valence(self) -> float: ...
    @property
    def arousal(self) -> float: ...
    @property
    def subject(self) -> str: ...


class IndependentJudge(Protocol):
    """Somebody who looks at pictures and has no part in making, choosing or rewarding them."""

    def look(self, images: Sequence[Image.Image]) -> Sequence[Reading]:
        """One reading for each picture."""
        ...

    @property
    def info(self) -> ModelInfo:
        """Who looks."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingPrompt:
    """One prompt to train on."""

    prompt: str
    target: AffectPoint | None = None
    """None: drawn anew each time."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a policy is trained for, and what it is measured on."""

    name: str
    """For tables: what the pairs are of."""
    training: tuple[TrainingPrompt, ...]
    """Prompts to train on; none of them is in the pairs."""
    panel: tuple[Pair, ...]
    """What a run looks at while it learns, at most 48 pairs."""
    evaluation: tuple[Pair, ...]
    """What finished policies are measured on: the same prompts, and other targets where those are not given, so that a
    version chosen by the panel is not chosen by what it is judged by in the end."""
    independent_judge: Callable[[], IndependentJudge] | None = None
    """Loads who looks at the pictures besides the judge; None: nobody knows them."""
    generator: str = ""
    """Checkpoint of the generator whose pictures that judge knows; empty: any."""
    tell: Callable[[Pair, int], str] | None = None
    """A pair's prompt and target as a prompt in words, one of several ways, by number; None: nobody knows any."""
    first: int = 0
    """Number of the first pair of `evaluation`, from which the seeds of a run of the loop follow: tasks that are
    measured side by side must share none."""

    def knows(self, checkpoint: str) -> bool:
        """Whether there is an independent judge of this generator's pictures."""
        return self.independent_judge is not None and self.generator in ("", checkpoint)

    def independent(self, checkpoint: str) -> IndependentJudge | None:
        """Loads the independent judge of a generator's pictures; None where there is none."""
        return self.independent_judge() if self.independent_judge and self.knows(checkpoint) else None


def load_task(source: str) -> Task:
    """A task by its short name, by `module:attribute`, or from a file of prompts (see `file_task`).

    Raises:
        InvalidRequest: there is none, or a bad line; the message names it.
    """
    place = TASKS.get(source, source)
    if not DOTTED.fullmatch(place):
        return file_task(Path(source))
    task = imported(place, "prompts")
    if not isinstance(task, Task):
        raise InvalidRequest.of("prompts", f"{source!r} is no Task but a {type(task).__name__}")
    return task


def file_task(path: Path) -> Task:
    """The task of a JSON lines file, each line `{"prompt": "...", "valence": 7, "arousal": 3}`; without both numbers
    the target is drawn.

    An eighth of the different prompts, at least one, is held out, chosen by a hash of the prompt: neither the order of
    the lines nor the seed of a run changes which.

    Raises:
        InvalidRequest: no such file, a bad line, or fewer than two different prompts.
    """
    try:
        lines = list(read_lines(path))
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(map(repr, TASKS))
        raise InvalidRequest.of(
            "prompts", f"'{path}' is neither {known} nor module:attribute nor a readable file"
        ) from error
    prompts = [_training_prompt(line, f"prompts[{number - 1}]") for number, line in lines]
    different = sorted({one.prompt for one in prompts}, key=lambda text: hashlib.sha256(text.encode()).digest())
    if len(different) < 2:
        raise InvalidRequest.of("prompts", f"{path} needs two different prompts or more: one is held out")
    held_out = set(different[: -(-len(different) // _HELD_OUT)])
    kept = [one for one in prompts if one.prompt in held_out]
    return Task(
        name=f"held-out prompts of {path.name}",
        training=tuple(one for one in prompts if one.prompt not in held_out),
        panel=_held_out_pairs(kept, _OTHER_TARGETS),
        evaluation=_held_out_pairs(kept, 0),
    )


def _held_out_pairs(prompts: Sequence[TrainingPrompt], turn: int) -> tuple[Pair, ...]:
    """At most 48 pairs: prompts with their own targets where they have them, else with targets all over the plane."""
    given = [Pair(prompt=one.prompt, target=one.target) for one in prompts if one.target]
    drawn = [("", one.prompt) for one in prompts if one.target is None]
    return (*given, *(spread_pairs(drawn, turn=turn) if drawn else ()))[:MOST_PAIRS]


def _training_prompt(line: str, where: str) -> TrainingPrompt:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest.of(where, f"is not JSON: {error}") from error
    if not isinstance(entry, dict) or not isinstance(prompt := entry.get("prompt"), str) or not prompt.strip():
        raise InvalidRequest.of(f"{where}.prompt", "must be a text that is not empty")
    if len(prompt) > LIMITS.prompt_characters:
        raise InvalidRequest.of(f"{where}.prompt", f"has {len(prompt)} characters, at most {LIMITS.prompt_characters}")
    numbers = {axis: entry[axis] for axis in ("valence", "arousal") if entry.get(axis) is not None}
    if not numbers:
        return TrainingPrompt(prompt=prompt)
    for axis in ("valence", "arousal"):
        if isinstance(numbers.get(axis), bool) or not isinstance(numbers.get(axis), int | float):
            raise InvalidRequest.of(f"{where}.{axis}", "must be a number, as valence and arousal come together")
    try:
        target = AffectPoint(**{axis: float(number) for axis, number in numbers.items()})
    except ValueError as error:
        raise InvalidRequest.of(where, str(error)) from error
    return TrainingPrompt(prompt=prompt, target=target)
