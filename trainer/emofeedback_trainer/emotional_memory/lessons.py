"""What the judge learns from in a refresh: pictures with the short rating that is right, each counted as far as its
label can be trusted.

A rating's two digits are learned against both neighboring whole numbers, weighted by how near they are, so that the
expected value over the digits, by which the service scores, becomes the label. The reasoned reply is learned beside it
from the real pictures whose reasons are known, lest the judge forget to speak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import ImageOps
from torch import Tensor

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import Conversation
from emofeedback.judge.engines.base import encode, prepare
from emofeedback.judge.prompts import rating_conversation, reasoning_conversation
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.judge.processor import JudgeProcessor
from emofeedback_trainer.judge.tasks import reply
from emofeedback_trainer.latent.objective import reply_losses

_UNLABELED = -100
_HIGHEST = 8
"""The highest whole rating that has a neighbor above it."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A question about a picture with the reply to learn."""

    conversation: Conversation
    reply: str
    point: AffectPoint | None = None
    """Of a short rating: where the picture lies between the whole numbers that it can write."""
    weight: float = 1.0
    mirrored: bool = False
    """Shows the picture left to right: feelings don't mind."""


@dataclass(frozen=True)
class Batch:
    """Lessons as the model reads them, padded on the right."""

    inputs: dict[str, Tensor]
    labels: Tensor
    """The token that should follow each place, else -100; (lessons, length)."""
    neighbors: Tensor
    """Where a rating stands: the next higher whole number's token."""
    shares: Tensor
    """How much of the label is the neighbor's, in [0, 1]."""
    weights: Tensor
    """Of each lesson, (lessons,)."""


def rating_lesson(image: bytes, point: AffectPoint, emotion: Emotion, *, weight: float, mirrored: bool) -> Lesson:
    """The short rating of a picture."""
    valence, arousal = (min(int(value), _HIGHEST) for value in (point.valence, point.arousal))
    return Lesson(
        conversation=rating_conversation(image),
        reply=f"{valence} {arousal} {emotion}",
        point=point,
        weight=weight,
        mirrored=mirrored,
    )


def reasoning_lesson(sample: Sample, *, mirrored: bool) -> Lesson | None:
    """The reasoned reply of somebody who knows the labels; None where they don't say enough."""
    said = reply("assessment", sample)
    if said is None:
        return None
    return Lesson(conversation=reasoning_conversation(image_of(sample)), reply=said, mirrored=mirrored)


class Collator:
    """Turns lessons into batches.

    Args:
        max_pixels: larger pictures are scaled down to this.
    """

    def __init__(self, processor: JudgeProcessor, *, max_pixels: int) -> None:
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._digits: list[int] = self._tokenizer.convert_tokens_to_ids([str(digit) for digit in range(10)])
        self._max_pixels = max_pixels

    def __call__(self, lessons: Sequence[Lesson], device: str) -> Batch:
        """At least one lesson.

        Raises:
            InvalidRequest: a picture is not a good one.
        """
        rows, pixels, grids = [], [], []
        for lesson in lessons:
            chat = prepare(lesson.conversation, ["image"], self._max_pixels)
            images = [ImageOps.mirror(image) if lesson.mirrored else image for image in chat.images]
            seen = self._processor.image_processor(images=images, return_tensors="pt")
            pixels.append(seen["pixel_values"])
            grids.append(seen["image_grid_thw"])
            rows.append(self._row(lesson, encode(self._tokenizer, chat), seen["image_grid_thw"]))
        length = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), length), self._tokenizer.pad_token_id)
        attention, neighbors = torch.zeros_like(ids), torch.zeros_like(ids)
        labels, shares = torch.full_like(ids, _UNLABELED), torch.zeros(ids.shape)
        for row, ((tokens, start), lesson) in enumerate(zip(rows, lessons, strict=True)):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            attention[row, : len(tokens)] = 1
            labels[row, start - 1 : len(tokens) - 1] = torch.tensor(tokens[start:])
            if lesson.point is not None:
                places = [place for place in range(start, len(tokens)) if tokens[place] in self._digits][:2]
                for place, value in zip(places, (lesson.point.valence, lesson.point.arousal), strict=True):
                    written = self._digits.index(tokens[place])
                    neighbors[row, place - 1] = self._digits[written + 1]
                    shares[row, place - 1] = value - written
        inputs = {
            "input_ids": ids,
            "attention_mask": attention,
            "mm_token_type_ids": (ids == self._processor.image_token_id).int(),
            "pixel_values": torch.cat(pixels),
            "image_grid_thw": torch.cat(grids),
        }
        weights = torch.tensor([lesson.weight for lesson in lessons])
        return Batch(
            {name: tensor.to(device) for name, tensor in inputs.items()},
            *(tensor.to(device) for tensor in (labels, neighbors, shares, weights)),
        )

    def _row(self, lesson: Lesson, question: Sequence[int], grids: Tensor) -> tuple[list[int], int]:
        """All tokens, and where the reply begins."""
        sizes = iter((grids.prod(dim=1) // self._processor.image_processor.merge_size**2).tolist())
        tokens: list[int] = []
        for token in question:
            tokens += [token] * (next(sizes) if token == self._processor.image_token_id else 1)
        said: list[int] = self._tokenizer(lesson.reply, add_special_tokens=False)["input_ids"]
        # A rating goes on with the dominance, which no witness of a painted picture knows.
        end = [self._tokenizer.eos_token_id] if lesson.point is None else []
        return [*tokens, *said, *end], len(tokens)


def lesson_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy of the replies' tokens: a mean over each reply, then the weighted mean over the lessons.

    Args:
        model: a `Qwen2_5_VLForConditionalGeneration`.
    """
    hidden = model.model(**batch.inputs, use_cache=False).last_hidden_state
    place = batch.labels != _UNLABELED
    labels, neighbors, shares = (part[place] for part in (batch.labels, batch.neighbors, batch.shares))
    each = reply_losses(model.lm_head(hidden[place]), labels, neighbors, shares, place.nonzero()[:, 0], len(place))
    return (batch.weights * each).sum() / batch.weights.sum()
