"""Paints what a measurement of generation needs, lets everybody look at it, and draws it."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment
from emofeedback.in_process import load_judge, local
from emofeedback.observability.console import say
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.profile import Profile
from emofeedback.storage.files import write_whole
from emofeedback_trainer.evaluation.ablation import deliver
from emofeedback_trainer.evaluation.generation import Way, Witness, witnessed
from emofeedback_trainer.evaluation.generation import way as way_of
from emofeedback_trainer.evaluation.pairs import Pair
from emofeedback_trainer.evaluation.plane_errors import draw_error_maps
from emofeedback_trainer.evaluation.plane_picture import plane_picture
from emofeedback_trainer.evaluation.provenance import Model
from emofeedback_trainer.evaluation.scorers import Checkpoints, ImageScores
from emofeedback_trainer.nano.models import independent_judge as independent


def checkpoints_of(profile: Profile) -> Checkpoints:
    """The scores that are usual for a profile: the published ones, or the embedded scorer for the nano world."""
    if profile.generator.checkpoint != NANO_PROFILE.generator.checkpoint:
        return Checkpoints()
    return Checkpoints(clip=profile.judge.scorer, quality=False, aesthetic="", pick="", pick_processor="")


async def measure(
    pairs: Sequence[Pair],
    *,
    profile: Profile,
    independent: Profile | None,
    checkpoints: Checkpoints,
    out: Path,
    seed: int,
) -> tuple[list[Way], tuple[Model, ...]]:
    """Runs the loops that `out` does not hold yet, looks at all of them, and leaves `plane.png` and `errors.png` there.

    Args:
        profile: its default policy is the one to measure; without one, reward feedback is left out.
        independent: whose judge is the second opinion; None: the independent judge of the nano world.

    Raises:
        FailedPrecondition: a model can't be had, or the folder holds runs of other models.
        EmoFeedbackError: as the loop raises.
    """
    policy = profile.generator.policy
    async with local(profile) as engines:
        generator, judge = engines.generator, engines.judge
        delivered = await deliver(pairs, policy, out / "runs", profile=profile, generator=generator, judge=judge)
        picture = await plane_picture(pairs[0].prompt, policy, generator=generator, judge=judge)
        write_whole(out / "plane.png", picture)
        painter, chooser = await generator.model(), await judge.model()
    scores = ImageScores.load(checkpoints, profile.judge)
    try:
        async with _witness(independent) as (witness, witness_model):
            seen = {}
            for name, pictures in delivered.items():
                say(f"looking at {len(pictures)} pictures of {name}", sys.stderr)
                seen[name] = await witnessed(pictures, witness, scores.measure)
    finally:
        scores.close()
    ways = [way_of(name, each, pairs=len(pairs), seed=seed) for name, each in seen.items()]
    write_whole(out / "errors.png", draw_error_maps(seen))
    generators = [Model(role="generator", name=painter.name, digest=painter.digest, policy=policy)]
    return ways, (*generators, Model.of("judge", chooser), witness_model, *scores.models)


@asynccontextmanager
async def _witness(profile: Profile | None) -> AsyncIterator[tuple[Witness, Model]]:
    """Another judge, or the independent judge."""
    if profile is None:
        yield (
            _independent_looks(independent.load_independent_judge()),
            Model.of("independent judge", independent.info()),
        )
        return
    judge = load_judge(profile)

    async def look(images: Sequence[bytes]) -> list[AffectPoint | None]:
        outcomes = await judge.assess(images)
        return [outcome.point if isinstance(outcome, Assessment) else None for outcome in outcomes]

    try:
        yield look, Model.of("independent judge", await judge.model())
    finally:
        judge.close()


def _independent_looks(eyes: independent.IndependentJudge) -> Witness:
    async def look(images: Sequence[bytes]) -> list[AffectPoint | None]:
        readings = eyes.look([Image.open(io.BytesIO(image)).convert("RGB") for image in images])
        return [AffectPoint(reading.valence, reading.arousal) for reading in readings]

    return look
