"""What the memory is held against: the same steps without it, the judge's own labels, and a bank as it was published.

The published one (EmoSym's code) keeps what the judge is sure of, under the label that was asked for, and lets it take
the place of the real data. It is here to be measured, not to be used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import Generator
from emofeedback.profiles.profile import Profile
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import data_digest, read_split
from emofeedback_trainer.emotional_memory.entries import Entry, Painted
from emofeedback_trainer.emotional_memory.filling import TOGETHER, Show, entry_of
from emofeedback_trainer.emotional_memory.painting import paint_and_read, painted_by, rollout
from emofeedback_trainer.emotional_memory.refresh_config import RefreshConfig
from emofeedback_trainer.emotional_memory.store import Memory, writing
from emofeedback_trainer.emotional_memory.witness import Witness

ArmName = Literal["memory", "alone", "own labels", "published"]
_SURE = 0.5
"""Share of the painted pictures that the published bank keeps: those that the judge is most confident of."""
_TARGETS = (1.5, 8.5)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to refresh a judge."""

    name: ArmName
    what: str
    share: float | None
    """Of the memory in a batch; None: as the configuration says."""


ARMS = (
    Arm(name="memory", what="real data and the memory's twins", share=None),
    Arm(name="alone", what="the same steps without the memory", share=0.0),
    Arm(name="own labels", what="the twins under the judge's own readings", share=None),
    Arm(name="published", what="what the judge is sure of, labelled as asked for, instead of real data", share=1.0),
)


def config_of(arm: Arm, config: RefreshConfig, checkpoint: str) -> RefreshConfig:
    """The arm's configuration, to begin with a judge."""
    share = config.share if arm.share is None else arm.share
    return replace(config, share=share, model=replace(config.model, checkpoint=checkpoint))


def under_own_labels(entries: Sequence[Entry]) -> list[Entry]:
    """The entries labelled with what the judge read."""
    return [replace(entry, label=entry.judged) for entry in entries]


async def fill_with_rollouts(
    uri: str,
    data: Path,
    policy_name: str,
    profile: Profile,
    *,
    count: int,
    seed: int,
    generator: Generator,
    judge: Judge,
    witness: Witness,
    show: Show,
) -> Memory:
    """Paints neutral prompts for targets all over the plane and keeps the half that the judge is most confident of,
    labelled with the targets. The witness's readings are written down and decide nothing.

    Raises:
        As `filling.fill`.
    """
    with writing(uri) as writer:
        samples = sorted(read_split(data, "train"), key=lambda sample: hashlib.sha256(sample.id.encode()).digest())
        samples = [sample for sample in samples if sample.neutral_prompt][:count]
        policy = await painted_by(profile, policy_name, generator)
        key = f"{data_digest(data)} {policy.digest} rollouts"
        info = await judge.model()
        for start in range(writer.memory.tried.get(key, 0), len(samples), TOGETHER):
            some = samples[start : start + TOGETHER]
            wishes = [rollout(sample, _target(sample, seed), seed=seed) for sample in some]
            read = await paint_and_read(wishes, policy=policy_name, generator=generator, judge=judge, witness=witness)
            sure = sorted(read, key=lambda one: -one.judged.confidence)[: max(1, round(_SURE * len(read)))]
            kept = [
                Painted(
                    entry=entry_of(
                        one,
                        "train",
                        policy,
                        generation=writer.generation(policy),
                        label_sd=1.0,
                        judge=info.digest,
                        witness=witness.info.digest,
                    ),
                    png=one.png,
                )
                for one in sure
            ]
            writer.commit(kept, policy=policy, tried={key: start + len(some)})
            show(f"{policy_name}, rollouts", start + len(some), len(samples))
        return writer.memory


def _target(sample: Sample, seed: int) -> AffectPoint:
    number = int.from_bytes(hashlib.sha256(sample.id.encode()).digest()[:8], "big")
    valence, arousal = np.random.default_rng((seed, number)).uniform(*_TARGETS, 2).round(1)
    return AffectPoint(float(valence), float(arousal))
