"""Our own judge on EEmo-Bench: asks it every question whose picture the user has, and leaves an answer file.

Rows are the benchmark's, of single images with their ground truth or of closed questions on one picture or two
(`image_url`, or `image1_url` and `image2_url`). Valence and arousal are the judge's own assessment; the rest is asked
in words, dominance too where the assessment hasn't it. Free answers are asked for here and marked by `adjudication`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emofeedback.domain.assessment import Assessment, Conversation, Decoding, Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.taxonomies import EKMAN
from emofeedback.observability.console import say
from emofeedback.storage.files import write_json
from emofeedback.storage.texts import file_within
from emofeedback_trainer.evaluation.eemo_bench_answers import KINDS, OPEN, OPEN_RESPONSE, options_of, read_rows
from emofeedback_trainer.evaluation.prompts import (
    closed_question,
    dominance_question,
    open_question,
    ranking_question,
)

_REPLY = Decoding(max_new_tokens=256)
_EVERY = 8
"""Rows between two writings of the file."""


async def answer(judge: Judge, questions: Path, images: Path, responses: Path, *, limit: int | None = None) -> int:
    """Asks the judge, and writes its answers to `responses`; rows that the file holds already are not asked again.

    Args:
        questions: a file of the benchmark.
        images: the folder of its pictures.

    Returns:
        How many rows the file has now.

    Raises:
        InvalidRequest: a file or a picture can't be read, or the file of answers belongs to other questions.
        EmoFeedbackError: as the judge raises.
    """
    asked = read_rows(questions)[:limit]
    done: list[Mapping[str, Any]] = [row for _, row in read_rows(responses)] if responses.exists() else []
    for (place, row), answered in zip(asked, done, strict=False):
        if any(answered.get(column) != value for column, value in row.items()):
            raise InvalidRequest.of(str(responses), f"holds answers to other questions than {place}: name another file")
    for start in range(len(done), len(asked), _EVERY):
        done += [await _answered(judge, place, row, images) for place, row in asked[start : start + _EVERY]]
        write_json(responses, done)
        say(f"eemo-bench: {len(done)} of {len(asked)} rows answered", sys.stderr)
    return len(done)


async def _answered(judge: Judge, place: str, row: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A row with the judge's answers in it."""
    if "question_type" in row:
        names = [str(row[column]) for column in ("image_url", "image1_url", "image2_url") if column in row]
        if not 1 <= len(names) <= LIMITS.question_images:
            raise InvalidRequest.of(
                place, f"names {len(names)} pictures, it must have image_url, or image1_url and image2_url"
            )
        images, text = _images(place, names, folder), _question(place, row, "question")
        if row["question_type"] == OPEN:
            question = open_question(images, text, EKMAN)
        else:
            question = closed_question(images, text, options_of(place, row, "options"))
        (reply,) = await judge.converse([question], _REPLY)
        return {**row, "response": reply}
    (image,) = _images(place, [str(row["image_name"])], folder)
    (outcome,) = await judge.assess([image])
    seen = outcome if isinstance(outcome, Assessment) else None
    asked: dict[str, Conversation] = {
        f"{kind}_response": closed_question(
            [image], _question(place, row, f"{kind}_Q"), options_of(place, row, f"{kind}_A")
        )
        for kind in KINDS
    }
    asked["predict_emotion_list"] = ranking_question(image, EKMAN)
    if seen is None or seen.dominance is None:
        asked["dominance_predict"] = dominance_question(image)
    if row.get("open_ended_Q"):
        asked[OPEN_RESPONSE] = open_question([image], str(row["open_ended_Q"]), EKMAN)
    replies = await judge.converse(list(asked.values()), _REPLY)
    return {
        **row,
        "valence_predict": seen and seen.valence,
        "arousal_predict": seen and seen.arousal,
        "dominance_predict": seen and seen.dominance,
        **dict(zip(asked, replies, strict=True)),
    }


def _question(place: str, row: Mapping[str, Any], column: str) -> str:
    if not isinstance(row.get(column), str):
        raise InvalidRequest.of(f"{place} column {column}", "must be a question, to be answered by our own judge")
    return str(row[column])


def _images(place: str, names: Sequence[str], folder: Path) -> list[bytes]:
    try:
        return [file_within(folder, name).read_bytes() for name in names]
    except (OSError, ValueError) as error:
        raise InvalidRequest.of(place, f"its picture can't be read: {error}") from error
