"""Lessons as sequences: what an engine would encode, cut into trunk, groups and branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL.Image import Image
from torch import Tensor

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion
from emofeedback.domain.assessment import Conversation
from emofeedback.domain.reasoning import Imagination
from emofeedback.judge.engines.base import chat, encode
from emofeedback.judge.prompts import imagine_conversation, look_conversation, reason_token
from emofeedback_trainer.latent.lessons import Imagine, Known, Look, Rating
from emofeedback_trainer.latent.sequences import Branch, Sequences

_NO_PICTURE = b""
_THINK = "<think>"


class Collator:
    """Encodes lessons for one checkpoint.

    Args:
        reasons: its reasoning tokens.
        variations: its variation tokens.
    """

    def __init__(self, tokenizer: Any, image_processor: Any, *, reasons: int, variations: int) -> None:
        self._tokenizer = tokenizer
        self._processor = image_processor
        self._reasons = reasons
        self._variations = variations
        self._image_token: int = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self._first: int = tokenizer.convert_tokens_to_ids(reason_token(0))
        scale = range(int(SCALE_MIN), int(SCALE_MAX) + 1)
        self.digits: list[int] = tokenizer.convert_tokens_to_ids([str(number) for number in scale])
        self.emotions: list[int] = [tokenizer(f" {emotion}")["input_ids"][0] for emotion in Emotion]
        self._think: list[int] = tokenizer(_THINK)["input_ids"]

    def look(self, lesson: Look, *, hidden: bool) -> Sequences:
        """The short rating behind the tokens, and the thought that they hold. `hidden`: the rating sees them only."""
        ids, pictures = self._encoded(look_conversation(_NO_PICTURE, self._reasons), (lesson.picture,))
        trunk, group, opening = self._cut(ids, before=0)
        branches = (
            self._rated(lesson.rating, opening, group=0, hidden=hidden, ends=lesson.rating.dominance is not None),
            self._thought(lesson.thought, opening, group=0),
        )
        return Sequences(trunk=trunk, groups=(group,), branches=branches, pictures=pictures)

    def imagine(self, lesson: Imagine) -> Sequences:
        """All variations of one imagination: of each the target read back, then the thought."""
        groups: list[tuple[int, ...]] = []
        branches: list[Branch] = []
        ways = lesson.ways if len(lesson.ways) > 1 else lesson.ways * self._variations
        for variation, way in zip(range(self._variations), ways, strict=True):
            asked = imagine_conversation(lesson.imagination, self._reasons, variation)
            trunk, group, opening = self._cut(self._encoded(asked, ())[0], before=1)
            groups.append(group)
            branches.append(self._rated(way.rating, opening, group=variation, hidden=True, ends=True))
            branches.append(self._thought(way.thought, opening, group=variation))
        return Sequences(trunk=trunk, groups=tuple(groups), branches=tuple(branches))

    def known(self, lesson: Known) -> Sequences:
        """A conversation without tokens, as it was always held."""
        ids, pictures = self._encoded(lesson.conversation, lesson.pictures)
        reply = self._reply(lesson.reply, ends=not lesson.rating or lesson.rating.dominance is not None)
        neighbors = self._neighbors(reply, lesson.rating) if lesson.rating else {}
        branch = Branch(opening=ids[-1:], reply=reply, neighbors=neighbors, held=True)
        return Sequences(trunk=ids[:-1], branches=(branch,), pictures=pictures)

    def asked_to_look(self, picture: Image) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The question up to the last reasoning token, and the opening of the reply."""
        ids, _ = self._encoded(look_conversation(_NO_PICTURE, self._reasons), (picture,))
        trunk, group, opening = self._cut(ids, before=0)
        return trunk + group, opening

    def asked_to_imagine(self, imagination: Imagination, variation: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """As `asked_to_look`."""
        ids, _ = self._encoded(imagine_conversation(imagination, self._reasons, variation), ())
        trunk, group, opening = self._cut(ids, before=1)
        return trunk + group, opening

    def thinking(self, opening: tuple[int, ...]) -> tuple[int, ...]:
        """The opening of a reply that is a thought."""
        return (*opening, *self._think)

    def seen(self, pictures: Sequence[Image]) -> tuple[Tensor, Tensor] | None:
        """Pictures as the vision tower takes them, patches and grids; None where there are none."""
        if not pictures:
            return None
        made = self._processor(images=list(pictures), return_tensors="pt")
        return made["pixel_values"], made["image_grid_thw"]

    def _encoded(
        self, conversation: Conversation, pictures: Sequence[Image]
    ) -> tuple[tuple[int, ...], tuple[Image, ...]]:
        ids: list[int] = []
        grids = self._processor(images=list(pictures), return_tensors="np")["image_grid_thw"] if pictures else ()
        sizes = iter([int(np.prod(grid)) // self._processor.merge_size**2 for grid in grids])
        for token in encode(self._tokenizer, chat(conversation, [])):
            ids += [token] * (next(sizes) if token == self._image_token else 1)
        return tuple(ids), tuple(pictures)

    def _cut(self, ids: tuple[int, ...], before: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Trunk, group and the opening of a reply; `before`: tokens of the group before the reasoning tokens."""
        start = ids.index(self._first)
        end = start + self._reasons
        return ids[: start - before], ids[start - before : end], ids[end:]

    def _rated(self, rating: Rating, opening: tuple[int, ...], *, group: int, hidden: bool, ends: bool) -> Branch:
        """`ends`: the reply is over with the rating, and nothing should follow."""
        reply = self._reply(rating.reply, ends=ends)
        valence, arousal, *_ = self._places(reply)
        return Branch(
            opening=opening,
            reply=reply,
            group=group,
            hidden=hidden,
            neighbors=self._neighbors(reply, rating),
            scored=(valence, arousal, next(place for place, token in enumerate(reply) if token in self.emotions)),
        )

    def _thought(self, text: str, opening: tuple[int, ...], *, group: int) -> Branch:
        return Branch(opening=self.thinking(opening), reply=self._reply(text), group=group, hidden=True)

    def _reply(self, text: str, *, ends: bool = True) -> tuple[int, ...]:
        return (*self._tokenizer(text)["input_ids"], *([self._tokenizer.eos_token_id] if ends else []))

    def _places(self, reply: tuple[int, ...]) -> list[int]:
        """Where a short reply has its numbers."""
        return [place for place, token in enumerate(reply) if token in self.digits]

    def _neighbors(self, reply: tuple[int, ...], rating: Rating) -> dict[int, tuple[int, float]]:
        """Of the numbers of a short reply."""
        found: dict[int, tuple[int, float]] = {}
        true_ones = (
            rating.point.valence,
            rating.point.arousal,
            *([rating.dominance] if rating.dominance is not None else []),
        )
        for place, true in zip(self._places(reply), true_ones, strict=True):
            written = SCALE_MIN + self.digits.index(reply[place])
            if true != written:
                other = int(written - SCALE_MIN) + (1 if true > written else -1)
                found[place] = (self.digits[other], abs(true - written))
        return found
