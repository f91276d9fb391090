"""Generates what a measurement of generation needs, lets everybody look at it, and draws it."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import Generator
from emofeedback.in_process import load_judge
from emofeedback.observability.console import say
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.profile import Profile
from emofeedback.runs.directory import slug
from emofeedback.storage.files import write_keeping
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.task import IndependentJudge, Task
from emofeedback_trainer.evaluation.ablation import Delivered, deliver
from emofeedback_trainer.evaluation.generation import Impression, Way, Witness, Witnessed, witnessed
from emofeedback_trainer.evaluation.generation import way as way_of
from emofeedback_trainer.evaluation.going_on import claim, of_profile
from emofeedback_trainer.evaluation.output import with_engines
from emofeedback_trainer.evaluation.plane_errors import draw_error_maps
from emofeedback_trainer.evaluation.plane_picture import plane_picture
from emofeedback_trainer.evaluation.provenance import Model, digests
from emofeedback_trainer.evaluation.scorers import Checkpoints, ImageScores


def checkpoints_of(profile: Profile) -> Checkpoints:
    """The scores that are usual for a profile: the published ones, or the embedded scorer for the nano world."""
    if profile.generator.checkpoint != NANO_PROFILE.generator.checkpoint:
        return Checkpoints()
    return Checkpoints(clip=profile.judge.scorer, quality=False, aesthetic="", pick="", pick_processor="")


def measure(
    pairs: Sequence[Pair],
    *,
    profile: Profile,
    task: Task,
    independent: Profile | None,
    checkpoints: Checkpoints,
    data: str,
    out: Path,
    seed: int,
) -> tuple[list[Way], tuple[Model, ...]]:
    """Runs the loops that `out` does not hold yet, looks at all of them, and leaves `plane.png` and `errors.png` there.

    Args:
        profile: its default policy is the one to measure; without one, reward feedback is left out.
        independent: whose judge is the second opinion; None: the task's independent judge.
        data: what the pairs are called.

    Raises:
        InvalidRequest: the folder's measurement was begun otherwise.
        FailedPrecondition: a model can't be had, nobody knows the pictures, or the folder holds runs of other models.
        EmoFeedbackError: as the loop raises.
    """
    claim(out, {**of_profile(profile), "task": data})
    delivered, models = with_engines(
        profile, lambda generator, judge: _delivered(pairs, profile, generator, judge, out)
    )
    scores = ImageScores.load(checkpoints, profile.judge)
    try:
        seen, witness = asyncio.run(_seen(delivered, scores, _witness(independent, task, profile), out))
    finally:
        scores.close()
    ways = [way_of(name, each, pairs=len(pairs), seed=seed) for name, each in seen.items()]
    write_keeping(out / "errors.png", draw_error_maps(seen))
    return ways, (*models, witness, *scores.models)


async def _delivered(
    pairs: Sequence[Pair], profile: Profile, generator: Generator, judge: Judge, out: Path
) -> tuple[dict[str, list[Delivered]], tuple[Model, ...]]:
    policy = profile.generator.policy
    maker = Model.of_generator(await generator.model(), profile.generator)
    models = (maker, Model.of("judge", await judge.model()))
    claim(out, {"digest": digests(models, policy=maker.policy_digest)})
    delivered = await deliver(pairs, policy, out / "runs", profile=profile, generator=generator, judge=judge)
    write_keeping(out / "plane.png", await plane_picture(pairs[0].prompt, policy, generator=generator, judge=judge))
    return delivered, models


async def _seen(
    delivered: Mapping[str, Sequence[Delivered]],
    scores: ImageScores,
    looking: AbstractAsyncContextManager[tuple[Witness, Model]],
    out: Path,
) -> tuple[dict[str, list[Witnessed]], Model]:
    seen = {}
    async with looking as (witness, model):
        claim(out, {"digest": digests((model, *scores.models)), "scores": [one.role for one in scores.models]})
        for name, pictures in delivered.items():
            say(f"looking at {len(pictures)} pictures of {name}", sys.stderr)
            kept = out / "seen" / f"{slug(name)}.jsonl"
            kept.parent.mkdir(exist_ok=True)
            seen[name] = await witnessed(pictures, witness, scores.measure, kept=kept)
    return seen, model


@asynccontextmanager
async def _witness(other: Profile | None, task: Task, profile: Profile) -> AsyncIterator[tuple[Witness, Model]]:
    """Another profile's judge, or the task's independent judge."""
    if other is None:
        independent = task.independent(profile.generator.checkpoint)
        if independent is None:
            raise FailedPrecondition(f"nobody but the judge knows pictures of {profile.name}: name another profile")
        yield _independent_looks(independent), Model.of("independent judge", independent.info)
        return
    judge = load_judge(other)

    async def look(images: Sequence[bytes]) -> list[Impression | None]:
        outcomes = await judge.assess(images)
        return [Impression(point=outcome.point) if isinstance(outcome, Assessment) else None for outcome in outcomes]

    try:
        yield look, Model.of("independent judge", await judge.model())
    finally:
        judge.close()


def _independent_looks(independent: IndependentJudge) -> Witness:
    async def look(images: Sequence[bytes]) -> list[Impression | None]:
        readings = independent.look([Image.open(io.BytesIO(image)).convert("RGB") for image in images])
        return [Impression(point=AffectPoint(one.valence, one.arousal), subject=one.subject) for one in readings]

    return look
