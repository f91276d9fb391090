"""Fills a memory: paints samples' twins by one policy after the other and keeps those that are admitted.

It goes on where it was cut, or where an earlier filling with fewer pictures ended: samples come in an order of their
own that follows from their ids, and the memory knows how far each policy has got.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from emofeedback.domain.affect import distance
from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import Generator
from emofeedback.profiles.profile import Profile
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import data_digest, read_split
from emofeedback_trainer.emotional_memory.admission import Bounds, Candidate, bounds_of, look_at, refusal
from emofeedback_trainer.emotional_memory.entries import Entry, Painted, Split
from emofeedback_trainer.emotional_memory.painting import Read, paint_and_read, painted_by, twin
from emofeedback_trainer.emotional_memory.store import Memory, PaintedBy, writing
from emofeedback_trainer.emotional_memory.witness import Trust, Witness, label_deviation, trust
from emofeedback_trainer.evaluation.judge import image_of

TOGETHER = 32
"""Pictures that are painted, read and kept in one go: what a cut filling loses at most."""
_REAL = 400
"""Real pictures that set the bounds and show how far the witness can be trusted."""


class Writer(Protocol):
    """Who adds to the memory: `store.MemoryWriter`, or `shared.SharedWriter` for several processes."""

    @property
    def memory(self) -> Memory: ...
    def generation(self, policy: PaintedBy) -> int: ...
    def commit(
        self,
        painted: Sequence[Painted],
        *,
        policy: PaintedBy,
        tried: Mapping[str, int] | None = None,
        refused: Mapping[str, int] | None = None,
    ) -> Memory: ...


Show = Callable[[str, int, int], None]
"""Is told of a part of the work: its name, how much of it is done, how much there is."""


@dataclass(frozen=True, kw_only=True)
class Filling:
    """What to fill a memory with."""

    data: Path
    """Data folder with the splits `train` and `val`."""
    policies: tuple[str, ...]
    """Who paints, one after the other."""
    twins: int = 512
    """Samples of `train` that each policy will have painted in all: what it has painted before counts."""
    held_out: int = 128
    """The same of `val`, to measure on; the judge never learns from these."""
    seed: int = 0
    label_sd: float = 0.5
    """Standard deviation of the data's own labels, in points."""

    def __post_init__(self) -> None:
        """Raises InvalidRequest for values out of their ranges."""
        if not self.policies:
            raise InvalidRequest.of("policy", "is missing: name at least one that paints")
        for name, value in (("twins", self.twins), ("held_out", self.held_out), ("seed", self.seed)):
            if value < 0:
                raise InvalidRequest.of(name, f"is {value}, it must be 0 or more")
        if not 0 < self.label_sd <= 4:
            raise InvalidRequest.of("label_sd", f"is {self.label_sd:g}, it must be above 0 and at most 4 points")


@dataclass(frozen=True, kw_only=True)
class _Measures:
    """What admission goes by."""

    bounds: Bounds
    trust: Trust
    judge: str
    witness: str


async def fill(
    uri: str,
    filling: Filling,
    profile: Profile,
    *,
    generator: Generator,
    judge: Judge,
    witness: Witness,
    show: Show,
    open_writer: Callable[[str], AbstractContextManager[Writer]] = writing,
) -> Memory:
    """Paints and keeps; what was kept stays when it is cut.

    Args:
        open_writer: `shared.sharing` where several processes fill one memory.

    Raises:
        InvalidRequest, NotFound: the data lacks a split or twins, or a policy is unknown.
        FailedPrecondition: the witness can't be trusted, the memory is of another version or has another writer.
        ResourceExhausted: the disk is full.
        EmoFeedbackError: as generator and judge raise.
    """
    with open_writer(uri) as writer:
        real = _in_order(read_split(filling.data, "val"))
        measures = await _measured(real[:_REAL], judge=judge, witness=witness)
        digest = data_digest(filling.data)
        for name in filling.policies:
            policy = await painted_by(profile, name, generator)
            parts: tuple[tuple[Split, int], ...] = (("val", filling.held_out), ("train", filling.twins))
            for split, count in parts:
                samples = real if split == "val" else _in_order(read_split(filling.data, "train"))
                key = f"{digest} {policy.digest} {split}"
                first = writer.memory.tried.get(key, 0)
                until = min(count, len(samples))
                for start in range(first, until, TOGETHER):
                    some = samples[start : min(start + TOGETHER, until)]
                    wishes = [twin(sample, seed=filling.seed) for sample in some]
                    read = await paint_and_read(wishes, policy=name, generator=generator, judge=judge, witness=witness)
                    _keep(writer, read, split, policy, measures, filling.label_sd, {key: start + len(some)})
                    show(f"{name}, {split}", start + len(some), until)
        return writer.memory


def _keep(
    writer: Writer,
    read: Sequence[Read],
    split: Split,
    policy: PaintedBy,
    measures: _Measures,
    label_sd: float,
    tried: dict[str, int],
) -> None:
    """Admits what may stay, first where the judge errs most: of two pictures that look the same, it can learn from the
    one more than from the other. What is only measured on is kept whatever it looks like, or the measure would be of
    easy pictures."""
    if not read:
        writer.commit([], policy=policy, tried=tried)
        return
    deviation = label_deviation(
        [one.wish.label for one in read],
        [one.witnessed for one in read],
        own=label_sd,
        witness_variance=measures.trust.variance,
    )
    signatures = [entry.signature for entry in writer.memory.of("train")]
    refused: Counter[str] = Counter()
    kept: list[Painted] = []
    for one in sorted(read, key=lambda one: -distance(one.judged.point, one.wish.label)):
        candidate = Candidate(label=one.wish.label, witnessed=one.witnessed, alignment=one.alignment, look=one.look)
        reason = None if split == "val" else refusal(candidate, measures.bounds, signatures)
        if reason:
            refused[reason] += 1
            continue
        signatures.append(one.look.signature)
        entry = entry_of(
            one,
            split,
            policy,
            generation=writer.generation(policy),
            label_sd=deviation,
            judge=measures.judge,
            witness=measures.witness,
        )
        kept.append(Painted(entry=entry, png=one.png))
    writer.commit(kept, policy=policy, tried=tried, refused=refused)


def entry_of(
    read: Read, split: Split, policy: PaintedBy, *, generation: int, label_sd: float, judge: str, witness: str
) -> Entry:
    """A painted picture as an entry; judge and witness by their digests."""
    sample = read.wish.sample
    return Entry(
        sha256=hashlib.sha256(read.png).hexdigest(),
        kind=read.wish.kind,
        split=split,
        source_id=sample.id,
        neutral_prompt=sample.neutral_prompt,
        prompt=read.wish.prompt,
        label=read.wish.label,
        label_sd=label_sd,
        emotion=sample.emotion,
        comments=sample.comments,
        license=sample.license,
        judged=read.judged.point,
        judge_confidence=read.judged.confidence,
        judge_digest=judge,
        witnessed=read.witnessed,
        witness_digest=witness,
        alignment=read.alignment,
        policy=policy.name,
        policy_digest=policy.digest,
        generation=generation,
        seed=read.wish.seed,
        signature=read.look.signature,
    )


async def _measured(real: Sequence[Sample], *, judge: Judge, witness: Witness) -> _Measures:
    found = trust(witness, real)
    captioned = [sample for sample in real if sample.emotional_prompt or sample.neutral_prompt]
    images = [image_of(sample) for sample in captioned]
    alignments = [
        (await judge.score([image], sample.emotional_prompt or sample.neutral_prompt))[0]
        for image, sample in zip(images, captioned, strict=True)
    ]
    if not images:
        raise InvalidRequest.of("data", "has no captions in its split `val`: there is nothing to paint twins from")
    looks = [look_at(Image.open(io.BytesIO(image))) for image in images]
    return _Measures(
        bounds=bounds_of(looks, alignments),
        trust=found,
        judge=(await judge.model()).digest,
        witness=witness.info.digest,
    )


def _in_order(samples: Sequence[Sample]) -> list[Sample]:
    """Those that have twins, in an order that no label and no file has a part in."""
    able = [
        sample
        for sample in samples
        if sample.valence is not None
        and sample.arousal is not None
        and (sample.emotional_prompt or sample.neutral_prompt)
    ]
    return sorted(able, key=lambda sample: hashlib.sha256(sample.id.encode()).digest())
