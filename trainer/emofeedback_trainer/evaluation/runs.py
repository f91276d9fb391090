"""Runs of the loop on pairs of prompt and target, and what an independent judge sees in them.

Every run is what the command does by default, three rounds of eight, and leaves an ordinary run directory. So a
measurement that was cut goes on where it stood, and is taken from its folder without generating anything again.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import Generator
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.optimizer.loop import optimize
from emofeedback.profiles.profile import Profile
from emofeedback.runs.directory import RunDirectory
from emofeedback.runs.run import OptimizationRun, image_path
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.task import IndependentJudge, Reading

ROUNDS = 3
IMAGES = 8
SEEDS_A_RUN = 1000
"""Seeds of pair number n begin at n times this."""


@dataclass(frozen=True, kw_only=True)
class Witness:
    """One run in the independent judge's eyes."""

    target: AffectPoint
    subject: str
    first_round: tuple[Reading, ...]
    first_choice: Reading
    """The image of round one that the judge found nearest."""
    answer: Reading
    seconds: float


def run_directory(folder: Path, number: int) -> Path:
    """Where the run of pair number `number` lies inside the folder of them all."""
    return folder / f"run-{number:02}"


async def run_pairs(
    pairs: Sequence[Pair],
    folder: Path,
    *,
    profile: Profile,
    generator: Generator,
    judge: Judge,
    policy: str = "",
    done: Callable[[int, OptimizationRun], None] = lambda number, run: None,
) -> list[OptimizationRun]:
    """The runs of these pairs, as they lie in `folder`; those that are missing or were cut are run first.

    Args:
        policy: what their pictures are generated with; empty is the profile's default.
        done: is told of every finished run, with its pair's number.

    Raises:
        FailedPrecondition: the folder holds runs of other models: they must not be mixed.
        EmoFeedbackError: as the loop raises.
    """
    models = await asyncio.gather(generator.model(), judge.model())
    runs = []
    for number, pair in enumerate(pairs):
        seed = SEEDS_A_RUN * number
        request = OptimizationRequest(
            prompt=pair.prompt, target=pair.target, rounds=ROUNDS, images=IMAGES, seed=seed, policy=policy
        )
        begun = OptimizationRun(request=request, profile=profile.name)
        directory = RunDirectory.open(run_directory(folder, number), begun, resume=True)
        for found, now in zip((directory.run.generator, directory.run.judge), models, strict=True):
            if found is not None and found.digest != now.digest:
                raise FailedPrecondition(f"{directory.path} is a run of {found.digest}, {now.digest} is to be measured")
        if directory.run.stopped_because is None:
            request = dataclasses.replace(request, resume=directory.resume_point())
            async with aclosing(
                optimize(request, generator=generator, judge=judge, settings=profile.optimizer)
            ) as events:
                async for event in events:
                    directory.record(event)
        done(number, directory.run)
        runs.append(directory.run)
    return runs


def witness(pair: Pair, run: OptimizationRun, folder: Path, independent: IndependentJudge) -> Witness | None:
    """A finished run in the independent judge's eyes; None where the judge could read no image of it."""
    first = run.rounds[0]
    if run.best is None or first.best is None:
        return None
    paths = [image_path(0, candidate.index) for candidate in first.candidates]
    paths.append(image_path(run.best.round, run.best.index))
    readings = independent.look([Image.open(folder / path).convert("RGB") for path in paths])
    return Witness(
        target=pair.target,
        subject=pair.subject,
        first_round=tuple(readings[:-1]),
        first_choice=readings[first.best],
        answer=readings[-1],
        seconds=run.seconds,
    )
