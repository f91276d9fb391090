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

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.generation import Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.observability.console import say
from emofeedback.profiles.profile import Profile
from emofeedback.runs.run import OptimizationRun, image_path
from emofeedback_trainer.evaluation.pairs import Pair
from emofeedback_trainer.evaluation.statistics import Array, bootstrap, line
from emofeedback_trainer.nano.measure.panel import IMAGES, ROUNDS, Task, run_directory, run_panel
from emofeedback_trainer.nano.measure.panel_metrics import IndependentJudge, Reading


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What one way came to for one pair, in the independent judge's eyes."""

    pair: Pair
    mean_error: float
    """Of all pictures of its last round."""
    chosen: Reading
    """The picture that the judge chose."""


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What one way delivers for one pair."""

    pair: Pair
    last: tuple[Path, ...]
    """Pictures of its last round."""
    chosen: Path
    """The picture that the judge chose."""
    judged: AffectPoint
    """What the judge felt before it."""


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
    """Share of the chosen pictures in which the independent judge sees the prompt's subject."""


async def measure(
    pairs: Sequence[Pair],
    policy: str,
    folder: Path,
    *,
    profile: Profile,
    generator: Generator,
    judge: Judge,
    independent: IndependentJudge,
) -> list[Row]:
    """Runs the loops that `folder` does not hold yet, and measures all of them.

    Raises:
        FailedPrecondition: the folder holds runs of other models.
        EmoFeedbackError: as the loop raises.
    """
    delivered = await deliver(pairs, policy, folder, profile=profile, generator=generator, judge=judge)
    return [summary(way, [_seen(one, independent) for one in each]) for way, each in delivered.items()]


async def deliver(
    pairs: Sequence[Pair], policy: str, folder: Path, *, profile: Profile, generator: Generator, judge: Judge
) -> dict[str, list[Delivered]]:
    """What each way delivers, without and with each feedback; runs that `folder` holds already are not made again.

    Args:
        policy: empty: only the base, without and with textual feedback.

    Returns:
        By way; pairs of which the judge could read no picture are missing.

    Raises:
        FailedPrecondition: the folder holds runs of other models.
        EmoFeedbackError: as the loop raises.
    """
    told = replace(profile, optimizer=replace(profile.optimizer, numeric_target=True))
    tasks = [Task(index=i, subject=p.subject, prompt=p.prompt, target=p.target) for i, p in enumerate(pairs)]
    first: dict[str, list[Delivered]] = {}
    last: dict[str, list[Delivered]] = {}
    for name, alone, with_words in ((BASE_POLICY, "base", "textual feedback"), (policy, "reward feedback", "both")):
        if not name:
            continue
        kept = folder / name
        runs = await run_panel(tasks, kept, profile=told, generator=generator, judge=judge, policy=name, done=_tell)
        finished = [(p, run_directory(kept, task), run) for p, task, run in zip(pairs, tasks, runs, strict=True)]
        first[alone] = [one for each in finished if (one := _without_words(*each))]
        last[with_words] = [one for each in finished if (one := _with_words(*each))]
    return first | last


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
        "| error abs(dV) + abs(dA) by the independent judge | mean picture of the last round | the judge's choice "
        "| 95 % interval | correlation V, A | subject seen |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.mean_error:.2f} | {row.chosen_error:.2f} | {row.low:.2f} to {row.high:.2f} "
        f"| {row.valence_correlation:.2f}, {row.arousal_correlation:.2f} | {row.subject_accuracy:.0%} |"
        for row in rows
    ]
    note = f"Without textual feedback the judge chooses among {IMAGES} pictures, with it among up to {ROUNDS * IMAGES}."
    return "\n".join([*lines, "", note])


def _without_words(pair: Pair, folder: Path, run: OptimizationRun) -> Delivered | None:
    """Round one, and the judge's choice in it."""
    best = run.rounds[0].best
    return None if best is None else _delivered(pair, folder, run, chosen=(0, best), last_round=0)


def _with_words(pair: Pair, folder: Path, run: OptimizationRun) -> Delivered | None:
    """The whole run, and its answer."""
    if run.best is None:
        return None
    chosen = (run.best.round, run.best.index)
    return _delivered(pair, folder, run, chosen=chosen, last_round=len(run.rounds) - 1)


def _delivered(
    pair: Pair, folder: Path, run: OptimizationRun, *, chosen: tuple[int, int], last_round: int
) -> Delivered:
    turn, index = chosen
    judged = run.rounds[turn].candidates[index].outcome
    assert isinstance(judged, Assessment)  # the judge chooses among what it could read
    return Delivered(
        pair=pair,
        last=tuple(folder / image_path(last_round, one.index) for one in run.rounds[last_round].candidates),
        chosen=folder / image_path(turn, index),
        judged=judged.point,
    )


def _seen(delivered: Delivered, independent: IndependentJudge) -> Choice:
    paths = [*delivered.last, delivered.chosen]
    *looks, chosen = independent.look([Image.open(path).convert("RGB") for path in paths])
    errors = [distance(AffectPoint(look.valence, look.arousal), delivered.pair.target) for look in looks]
    return Choice(pair=delivered.pair, mean_error=float(np.mean(errors)), chosen=chosen)


def _tell(task: Task, run: OptimizationRun) -> None:
    say(f"ablation: pair {task.index + 1}, {run.state}", sys.stderr)
