"""Does the loop work? A fixed panel of runs, and an independent judge to look at them that is neither judge nor reward.

Twenty-four neutral prompts, each with a target of its own; the targets are a grid over the whole plane without its
middle. Every run is what the command does by default, three rounds of eight, and leaves an ordinary run directory.
So a panel that was cut goes on where it stood, and figures are taken from the folder without painting again.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import Generator
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.optimizer.loop import optimize
from emofeedback.profiles.profile import Profile
from emofeedback.runs.directory import RunDirectory
from emofeedback.runs.run import OptimizationRun
from emofeedback_trainer.nano.world.language import core
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS, sample_scene

ROUNDS = 3
IMAGES = 8
_LEVELS = (2.0, 3.5, 5.0, 6.5, 8.0)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run of the panel."""

    index: int
    subject: str
    prompt: str
    target: AffectPoint

    @property
    def seed(self) -> int:
        """Of the run's first image; every task has seeds of its own."""
        return 1000 * self.index


def _tasks() -> Iterator[Task]:
    grid = [AffectPoint(v, a) for v in _LEVELS for a in _LEVELS if (v, a) != (5.0, 5.0)]
    for index, target in enumerate(grid):
        # strides that share no factor with the counts: every subject comes twice, every place three times,
        # and neighbors on the plane differ in both
        subject, place = SUBJECTS[index * 5 % len(SUBJECTS)], PLACES[index * 3 % len(PLACES)]
        scene = sample_scene(np.random.default_rng(index), subject=subject, place=place)
        yield Task(index=index, subject=subject, prompt=core(scene), target=target)


PANEL: tuple[Task, ...] = tuple(_tasks())
"""The fixed panel, in the order in which it is run."""


def run_directory(folder: Path, task: Task) -> Path:
    """Where a task's run lies inside the panel's folder."""
    return folder / f"run-{task.index:02}"


async def run_panel(
    tasks: Sequence[Task],
    folder: Path,
    *,
    profile: Profile,
    generator: Generator,
    judge: Judge,
    policy: str = "",
    done: Callable[[Task, OptimizationRun], None] = lambda task, run: None,
) -> list[OptimizationRun]:
    """The runs of these tasks, as they lie in `folder`; those that are missing or were cut are run first.

    Args:
        policy: what they are painted with; empty is the profile's default.
        done: is told of every finished run.

    Raises:
        FailedPrecondition: the folder holds runs of other models: they must not be mixed.
    """
    models = await asyncio.gather(generator.model(), judge.model())
    runs = []
    for task in tasks:
        request = OptimizationRequest(
            prompt=task.prompt, target=task.target, rounds=ROUNDS, images=IMAGES, seed=task.seed, policy=policy
        )
        begun = OptimizationRun(request=request, profile=profile.name)
        directory = RunDirectory.open(run_directory(folder, task), begun, resume=True)
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
        done(task, directory.run)
        runs.append(directory.run)
    return runs
