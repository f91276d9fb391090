"""Entries of an emotional memory, made up."""

import hashlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback_trainer.emotional_memory.entries import Entry, Painted
from emofeedback_trainer.emotional_memory.store import PaintedBy

POLICY = PaintedBy(name="first", digest="sha256:" + "1" * 64)
LATER = PaintedBy(name="later", digest="sha256:" + "2" * 64)


def entry(**changes: Any) -> Entry:
    """A twin that the witness confirms to the letter; what is named differs."""
    base = Entry(
        sha256="0" * 64,
        kind="twin",
        split="train",
        source_id="scene",
        neutral_prompt="a dog",
        prompt="a happy dog on a sunny day",
        label=AffectPoint(7.0, 5.0),
        label_sd=0.5,
        emotion=Emotion.AMUSEMENT,
        comments=("It glows.",),
        license="Apache-2.0",
        judged=AffectPoint(6.5, 5.5),
        judge_confidence=0.7,
        judge_digest="sha256:" + "3" * 64,
        witnessed=AffectPoint(7.0, 5.0),
        witness_digest="sha256:" + "4" * 64,
        alignment=0.4,
        policy=POLICY.name,
        policy_digest=POLICY.digest,
        generation=0,
        seed=3,
        signature=0,
    )
    return replace(base, **changes)


def painted(number: int, **changes: Any) -> Painted:
    """An entry with a picture of its own; the same number, the same picture."""
    rng = np.random.default_rng(number)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(file, "PNG")
    png = file.getvalue()
    digest = hashlib.sha256(png).hexdigest()
    signature = int.from_bytes(rng.bytes(8), "big")
    return Painted(entry=entry(sha256=digest, signature=signature, source_id=f"scene-{number}", **changes), png=png)
