"""Paints what a memory may take, and asks everybody about it: the judge, the witness, the scorer.

Nothing is decided here; `filling` does.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.policy_store import PolicyStore
from emofeedback.profiles.profile import Profile
from emofeedback_trainer.core.condition import Condition
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.emotional_memory.admission import Look, look_at
from emofeedback_trainer.emotional_memory.entries import Kind
from emofeedback_trainer.emotional_memory.store import PaintedBy
from emofeedback_trainer.emotional_memory.witness import Witness

_SEEDS = 1 << 40
"""Seeds of painted pictures lie below this; they follow from the sample and the filling's own seed."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be painted, and for what."""

    sample: Sample
    kind: Kind
    prompt: str
    """As the generator reads it."""
    label: AffectPoint
    seed: int


@dataclass(frozen=True, kw_only=True)
class Read:
    """A painted picture with all that is thought of it."""

    wish: Wish
    png: bytes
    look: Look
    judged: Assessment
    witnessed: AffectPoint
    alignment: float


def twin(sample: Sample, *, seed: int) -> Wish:
    """The sample's caption, painted: what it makes people feel is what the sample does, as far as it is well painted.

    Raises:
        InvalidRequest: the sample has no valence, no arousal, or nothing that could be painted.
    """
    caption = sample.emotional_prompt or sample.neutral_prompt
    if sample.valence is None or sample.arousal is None or not caption:
        raise InvalidRequest.of(f"sample {sample.id}", "has no valence and arousal with a caption: it has no twin")
    label = AffectPoint(sample.valence, sample.arousal)
    return Wish(sample=sample, kind="twin", prompt=caption, label=label, seed=_seed(sample, "twin", seed))


def rollout(sample: Sample, target: AffectPoint, *, seed: int) -> Wish:
    """The sample's neutral prompt with a target, painted. Its label is what was asked for, which a picture often
    misses: the control that shows what twins are worth.

    Raises:
        InvalidRequest: the sample has no neutral prompt.
    """
    if not sample.neutral_prompt:
        raise InvalidRequest.of(f"sample {sample.id}", "has no neutral prompt: nothing could be painted for a target")
    prompt = Condition(prompt=sample.neutral_prompt, target=target).caption
    return Wish(sample=sample, kind="rollout", prompt=prompt, label=target, seed=_seed(sample, "rollout", seed))


async def painted_by(profile: Profile, name: str, generator: Generator) -> PaintedBy:
    """A policy by its name, `base` for the bare weights.

    Raises:
        FailedPrecondition: the profile has no store of policies, or none that can be read there.
    """
    if name == BASE_POLICY:
        return PaintedBy(name=name, digest=(await generator.model()).digest)
    if not profile.generator.policies:
        raise FailedPrecondition(f"the profile {profile.name!r} has no store of policies: only {BASE_POLICY!r} paints")
    return PaintedBy(name=name, digest=PolicyStore(profile.generator.policies).manifest(name).digest)


async def paint_and_read(
    wishes: Sequence[Wish], *, policy: str, generator: Generator, judge: Judge, witness: Witness
) -> list[Read]:
    """Paints every wish, together, and asks everybody; a picture that the judge can't read is left out.

    Raises:
        EmoFeedbackError: as generator and judge raise.
    """
    pngs = await asyncio.gather(*(_painted(wish, policy, generator) for wish in wishes))
    outcomes = await judge.assess(pngs)
    alignments = await asyncio.gather(
        *(judge.score([png], wish.prompt) for png, wish in zip(pngs, wishes, strict=True))
    )
    pictures = [Image.open(io.BytesIO(png)).convert("RGB") for png in pngs]
    points = witness.look(pictures)
    return [
        Read(
            wish=wish,
            png=png,
            look=look_at(picture),
            judged=outcome,
            witnessed=AffectPoint(point.valence, point.arousal),
            alignment=alignment,
        )
        for wish, png, outcome, (alignment,), picture, point in zip(
            wishes, pngs, outcomes, alignments, pictures, points, strict=True
        )
        if isinstance(outcome, Assessment)
    ]


async def _painted(wish: Wish, policy: str, generator: Generator) -> bytes:
    request = GenerationRequest(prompt=wish.prompt, seeds=(wish.seed,), policy=policy)
    (png,) = [event.data async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
    return png


def _seed(sample: Sample, kind: Kind, seed: int) -> int:
    text = f"{seed}/{kind}/{sample.id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % _SEEDS
