"""What the emotional memory keeps of a picture, and how that stands in a table.

A row has the columns of a data folder's labels (`data.storage.SCHEMA`) and the memory's own behind them, so that
what is in the memory opens as a data folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import SCHEMA

Kind = Literal["twin", "rollout"]
"""A twin: the caption of a labelled sample, painted. A rollout: a neutral prompt with a target, painted."""
Split = Literal["train", "val"]
"""What the judge learns from, and what it is measured on: the twins of the data's own splits."""
SOURCE = "memory"

_OWN = {
    "kind": pa.string(),
    "source_id": pa.string(),
    "label_sd": pa.float64(),
    "judged_valence": pa.float64(),
    "judged_arousal": pa.float64(),
    "judge_confidence": pa.float64(),
    "judge_digest": pa.string(),
    "witnessed_valence": pa.float64(),
    "witnessed_arousal": pa.float64(),
    "witness_digest": pa.string(),
    "alignment": pa.float64(),
    "policy": pa.string(),
    "policy_digest": pa.string(),
    "generation": pa.int64(),
    "seed": pa.int64(),
    "signature": pa.string(),
    "split": pa.string(),
}
ENTRY_SCHEMA = pa.schema([*SCHEMA, *_OWN.items()])
"""Columns of a shard, and of the labels file of a split."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One painted picture with what is known and what is thought of it."""

    sha256: str
    """64 hex digits over the PNG; what the entry is known by."""
    kind: Kind
    split: Split
    source_id: str
    """The labelled sample whose caption, or prompt, was painted."""
    neutral_prompt: str
    prompt: str
    """What was painted, word for word."""
    label: AffectPoint
    """Of a twin: its sample's; of a rollout: what was asked for."""
    label_sd: float
    """Standard deviation of the label around what the picture truly makes people feel, on either axis, above 0."""
    emotion: Emotion | None
    comments: tuple[str, ...] = ()
    license: str = ""
    judged: AffectPoint
    """The judge's own reading; it never becomes the label."""
    judge_confidence: float
    """In its emotion, in [0, 1]."""
    judge_digest: str
    witnessed: AffectPoint
    """The reading of a network that has no part in the judge."""
    witness_digest: str
    alignment: float
    """Cosine of picture and prompt by the scorer, in [-1, 1]."""
    policy: str
    policy_digest: str
    generation: int
    """The policy's place among those that have painted for this memory, from 0."""
    seed: int
    signature: int
    """64 bits of what the picture looks like, see `admission.signature`."""

    @property
    def file_name(self) -> str:
        """The picture's path beside the labels of its split."""
        return f"images/{self.sha256}.png"


@dataclass(frozen=True, kw_only=True)
class Painted:
    """An entry that is not in the memory yet."""

    entry: Entry
    png: bytes


def to_row(entry: Entry) -> dict[str, Any]:
    """The entry as a row of `ENTRY_SCHEMA`."""
    return {
        "file_name": entry.file_name,
        "id": entry.sha256,
        "neutral_prompt": entry.neutral_prompt,
        "emotional_prompt": entry.prompt,
        "valence": entry.label.valence,
        "arousal": entry.label.arousal,
        "dominance": None,
        "emotion": entry.emotion and entry.emotion.value,
        "label": entry.emotion.value if entry.emotion else "",
        "ranking": [],
        "votes": [],
        "comments": list(entry.comments),
        "source": SOURCE,
        "license": entry.license,
        "image_sha256": entry.sha256,
        "kind": entry.kind,
        "source_id": entry.source_id,
        "label_sd": entry.label_sd,
        "judged_valence": entry.judged.valence,
        "judged_arousal": entry.judged.arousal,
        "judge_confidence": entry.judge_confidence,
        "judge_digest": entry.judge_digest,
        "witnessed_valence": entry.witnessed.valence,
        "witnessed_arousal": entry.witnessed.arousal,
        "witness_digest": entry.witness_digest,
        "alignment": entry.alignment,
        "policy": entry.policy,
        "policy_digest": entry.policy_digest,
        "generation": entry.generation,
        "seed": entry.seed,
        "signature": f"{entry.signature:016x}",
        "split": entry.split,
    }


def from_row(row: Mapping[str, Any]) -> Entry:
    """The entry that `to_row` wrote.

    Raises:
        LookupError, TypeError, ValueError: it is no such row.
    """
    return Entry(
        sha256=row["image_sha256"],
        kind=row["kind"],
        split=row["split"],
        source_id=row["source_id"],
        neutral_prompt=row["neutral_prompt"],
        prompt=row["emotional_prompt"],
        label=AffectPoint(row["valence"], row["arousal"]),
        label_sd=row["label_sd"],
        emotion=row["emotion"] and Emotion(row["emotion"]),
        comments=tuple(row["comments"]),
        license=row["license"],
        judged=AffectPoint(row["judged_valence"], row["judged_arousal"]),
        judge_confidence=row["judge_confidence"],
        judge_digest=row["judge_digest"],
        witnessed=AffectPoint(row["witnessed_valence"], row["witnessed_arousal"]),
        witness_digest=row["witness_digest"],
        alignment=row["alignment"],
        policy=row["policy"],
        policy_digest=row["policy_digest"],
        generation=row["generation"],
        seed=row["seed"],
        signature=int(row["signature"], 16),
    )


@dataclass(frozen=True, kw_only=True)
class Known:
    """A labelled picture and how far its label can be trusted."""

    sample: Sample
    sd: float
    """Standard deviation of the label, in points."""


def as_sample(entry: Entry, png: bytes) -> Sample:
    """The entry with its picture, as a labelled sample."""
    return Sample(
        id=entry.sha256,
        image=png,
        neutral_prompt=entry.neutral_prompt,
        emotional_prompt=entry.prompt,
        valence=entry.label.valence,
        arousal=entry.label.arousal,
        emotion=entry.emotion,
        label=entry.emotion.value if entry.emotion else "",
        comments=entry.comments,
        split=entry.split,
        source=SOURCE,
        license=entry.license,
    )
