"""Reward feedback and textual feedback apart and together (EmoFeedback^2, Figure 5), on the held-out pairs.

Two runs of the loop for every pair, one by the base and one by the policy, each as the profile has it. Prompts carry
the target's numbers in both, since the policy has learned to read them. Their first rounds are what base and policy
come to without textual feedback; their answers are what they come to with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.generation import Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.observability.console import say
from emofeedback.profiles.profile import Profile
from emofeedback.runs.run import OptimizationRun, image_path
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.evaluation.runs import run_directory, run_pairs


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
    numeric = replace(profile, optimizer=replace(profile.optimizer, numeric_target=True))
    first: dict[str, list[Delivered]] = {}
    last: dict[str, list[Delivered]] = {}
    for name, alone, with_text in ((BASE_POLICY, "base", "textual feedback"), (policy, "reward feedback", "both")):
        if not name:
            continue
        kept = folder / name
        runs = await run_pairs(
            pairs, kept, profile=numeric, generator=generator, judge=judge, policy=name, done=_report
        )
        folders = [run_directory(kept, number) for number in range(len(pairs))]
        finished = list(zip(pairs, folders, runs, strict=True))
        first[alone] = [one for each in finished if (one := _without_text(*each))]
        last[with_text] = [one for each in finished if (one := _with_text(*each))]
    return first | last


def _without_text(pair: Pair, folder: Path, run: OptimizationRun) -> Delivered | None:
    """Round one, and the judge's choice in it."""
    best = run.rounds[0].best
    return None if best is None else _delivered(pair, folder, run, chosen=(0, best), last_round=0)


def _with_text(pair: Pair, folder: Path, run: OptimizationRun) -> Delivered | None:
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


def _report(number: int, run: OptimizationRun) -> None:
    say(f"ablation: pair {number + 1}, {run.state}", sys.stderr)
