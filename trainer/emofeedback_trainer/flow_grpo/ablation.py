"""Reward feedback and textual feedback apart and together (EmoFeedback^2, Figure 5), on the held-out pairs.

Two runs of the loop for every pair, one by the base and one by the policy, each as the profile has it. What is painted
carries the target's numbers in both, since the policy has learned to read them. Their first rounds are what base and
policy paint without textual feedback; their answers are what they come to with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from emofeedback.affect import AffectPoint, distance
from emofeedback.interfaces import Generator, Judge
from emofeedback.runs import Run, image_path
from emofeedback.settings import BASE_POLICY, Profile
from emofeedback_trainer.flow_grpo.held_out import Pair
from emofeedback_trainer.flow_grpo.statistics import Array, bootstrap, line
from emofeedback_trainer.nano.panel import IMAGES, ROUNDS, Task, run_directory, run_panel
from emofeedback_trainer.nano.panel_figures import Critic, Look


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What one way came to for one pair, in the critic's eyes."""

    pair: Pair
    mean_error: float
    """Of all pictures of its last round."""
    chosen: Look
    """The picture that the judge chose."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Which pictures of a run count for a way."""

    last_round: int
    chosen: tuple[int, int]
    """Round and index."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way: with or without each feedback."""

    what: str
    mean_error: float
    """Of the last round's pictures: |dV| + |dA|."""
    chosen_error: float
    """Of the pictures that the judge chose."""
    low: float
    """Ends of the 95 % interval of `chosen_error`, over the pairs."""
    high: float
    valence_correlation: float
    """Of the chosen pictures with their targets."""
    arousal_correlation: float
    subject_accuracy: float
    """Share of the chosen pictures in which the critic sees the prompt's subject."""


async def measure(
    pairs: Sequence[Pair],
    policy: str,
    folder: Path,
    *,
    profile: Profile,
    generator: Generator,
    judge: Judge,
    critic: Critic,
) -> list[Row]:
    """Runs the loops that `folder` does not hold yet, and measures all of them.

    Raises:
        FailedPrecondition: the folder holds runs of other models.
        EmoFeedbackError: as the loop raises.
    """
    told = replace(profile, optimizer=replace(profile.optimizer, numeric_target=True))
    tasks = [Task(index=i, subject=p.subject, prompt=p.prompt, target=p.target) for i, p in enumerate(pairs)]
    ways: dict[str, list[Choice]] = {}
    for name, alone, with_words in ((BASE_POLICY, "base", "textual feedback"), (policy, "reward feedback", "both")):
        kept = folder / name
        runs = await run_panel(tasks, kept, profile=told, generator=generator, judge=judge, policy=name, done=_tell)
        for way, choose in ((alone, _without_words), (with_words, _with_words)):
            ways[way] = [
                _seen(pair, run, place, run_directory(kept, task), critic)
                for pair, run, task in zip(pairs, runs, tasks, strict=True)
                if (place := choose(run)) is not None
            ]
    return [summary(way, ways[way]) for way in ("base", "reward feedback", "textual feedback", "both")]


def summary(what: str, choices: Sequence[Choice]) -> Row:
    """The figures of one way."""
    targets = np.array([(choice.pair.target.valence, choice.pair.target.arousal) for choice in choices])
    results = np.array([(choice.chosen.valence, choice.chosen.arousal) for choice in choices])
    errors: Array = np.abs(results - targets).sum(axis=1)
    low, high = bootstrap(lambda drawn: float(errors[drawn].mean()), len(choices))
    return Row(
        what=what,
        mean_error=float(np.mean([choice.mean_error for choice in choices])),
        chosen_error=float(errors.mean()),
        low=low,
        high=high,
        valence_correlation=line(targets[:, 0], results[:, 0])[0],
        arousal_correlation=line(targets[:, 1], results[:, 1])[0],
        subject_accuracy=float(np.mean([choice.chosen.subject == choice.pair.subject for choice in choices])),
    )


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| error abs(dV) + abs(dA) by the critic | mean picture of the last round | the judge's choice | 95 % interval "
        "| correlation V, A | subject seen |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.mean_error:.2f} | {row.chosen_error:.2f} | {row.low:.2f} to {row.high:.2f} "
        f"| {row.valence_correlation:.2f}, {row.arousal_correlation:.2f} | {row.subject_accuracy:.0%} |"
        for row in rows
    ]
    note = f"Without textual feedback the judge chooses among {IMAGES} pictures, with it among up to {ROUNDS * IMAGES}."
    return "\n".join([*lines, "", note])


def _without_words(run: Run) -> _Place | None:
    """Round one, and the judge's choice in it."""
    best = run.rounds[0].best
    return None if best is None else _Place(last_round=0, chosen=(0, best))


def _with_words(run: Run) -> _Place | None:
    """The whole run, and its answer."""
    if run.best is None:
        return None
    return _Place(last_round=len(run.rounds) - 1, chosen=(run.best.round, run.best.index))


def _seen(pair: Pair, run: Run, place: _Place, folder: Path, critic: Critic) -> Choice:
    last = [image_path(place.last_round, candidate.index) for candidate in run.rounds[place.last_round].candidates]
    paths = [*last, image_path(*place.chosen)]
    *looks, chosen = critic.look([Image.open(folder / path).convert("RGB") for path in paths])
    errors = [distance(AffectPoint(look.valence, look.arousal), pair.target) for look in looks]
    return Choice(pair=pair, mean_error=float(np.mean(errors)), chosen=chosen)


def _tell(task: Task, run: Run) -> None:
    print(f"ablation: pair {task.index + 1}, {run.state}", file=sys.stderr, flush=True)
