"""What a judge has in mind of the lessons, kept in shards so that a cut run goes on; and the states to compare with.

states/000000.safetensors   looked, imagined: float16, (lessons, tokens, width), zeros where the judge wasn't asked;
                            variation: int64, (lessons,), which imagination it is, -1 for none; the judge's digest
                            stands in the header
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIDDLE, AffectPoint
from emofeedback.domain.assessment import Conversation
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.reasoning import Imagination
from emofeedback.judge.engines.base import chat, fetch_checkpoint
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.judge.prompts import imagine_conversation, look_conversation
from emofeedback.observability.console import say
from emofeedback.profiles.profile import JudgeSettings
from emofeedback.storage.checkpoints import digest, model_name
from emofeedback.storage.files import write_whole
from emofeedback_trainer.fusion.lessons import Lesson

_SHARD = 64
_NUMBERS, _NUMBERS_SHAPE = "numbers.safetensors", "shape"
_IMAGE = b""
"""Stands for the picture in a conversation; the picture itself is handed over beside it."""


class Reasoner(Protocol):
    """Whose tokens are learned from."""

    @property
    def info(self) -> ModelInfo: ...
    @property
    def variations(self) -> int: ...
    @property
    def shape(self) -> tuple[int, int]:
        """Tokens and their width."""
        ...

    def look(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Float32, shape (pictures, tokens, width)."""
        ...

    def imagine(self, imaginations: Sequence[tuple[Imagination, int]]) -> Tensor:
        """Each with the number of its variation; float32, shape (imaginations, tokens, width)."""
        ...


class JudgeReasoner:
    """A judge's checkpoint that has learned reasoning tokens, asked `together` questions at once."""

    def __init__(self, settings: JudgeSettings, *, together: int = 16) -> None:
        """Raises FailedPrecondition: the checkpoint can't be had, or knows no reasoning tokens."""
        self._qwen = Qwen.load(settings)
        folder = fetch_checkpoint(settings.checkpoint)
        self.info = ModelInfo(name=model_name(settings.checkpoint), digest=digest(folder))
        self._together = together
        if not self._qwen.reasons:
            raise FailedPrecondition(
                f"judge {self.info.name} has no reasoning tokens: train them with `emofeedback-train judge-latent`"
            )

    @property
    def variations(self) -> int:
        """Imaginations that it tells apart."""
        return self._qwen.variations

    @property
    def shape(self) -> tuple[int, int]:
        """See `Reasoner`."""
        middle = AffectPoint(SCALE_MIDDLE, SCALE_MIDDLE)
        _, tokens, width = self.imagine([(Imagination(prompt="a picture", target=middle), 0)]).shape
        return tokens, width

    def look(self, pictures: Sequence[Image.Image]) -> Tensor:
        """See `Reasoner`."""
        return self._states([(look_conversation(_IMAGE, self._qwen.reasons), (one,)) for one in pictures])

    def imagine(self, imaginations: Sequence[tuple[Imagination, int]]) -> Tensor:
        """See `Reasoner`.

        Raises:
            InvalidRequest: the judge has fewer variations.
        """
        for _, variation in imaginations:
            if variation >= self.variations:
                known = f"the judge has {self.variations}, counted from 0"
                raise InvalidRequest.of("lessons.variations", f"has {variation}, {known}")
        return self._states(
            [(imagine_conversation(one, self._qwen.reasons, variation), ()) for one, variation in imaginations]
        )

    def _states(self, asked: Sequence[tuple[Conversation, tuple[Image.Image, ...]]]) -> Tensor:
        parts = []
        for first in range(0, len(asked), self._together):
            chats = [self._qwen.encode(chat(*each)) for each in asked[first : first + self._together]]
            parts.append(self._qwen.states(chats))
        return torch.cat(parts)


@dataclass(frozen=True, eq=False, kw_only=True)
class States:
    """The judge's tokens of all lessons, in their order."""

    looked: Tensor
    """float16, shape (lessons, tokens, width); zeros where the judge wasn't asked."""
    imagined: Tensor
    """Likewise."""
    variation: Tensor
    """int64, shape (lessons,): which imagination it is, -1 for none."""


class NumberStates(nn.Module):
    """States that no judge has a part in: of the target's two numbers and the variation's, by a small network."""

    def __init__(self, *, tokens: int, width: int, variations: int) -> None:
        super().__init__()
        self.numbers = nn.Sequential(nn.Linear(2, 4 * width), nn.GELU(), nn.Linear(4 * width, tokens * width))
        self.variations = nn.Parameter(torch.randn(variations, tokens, width))
        self.shape = {"tokens": tokens, "width": width, "variations": variations}

    def forward(self, points: Tensor, variations: Tensor) -> Tensor:
        """Shape (batch, tokens, width).

        Args:
            points: valence and arousal on the 1-9 scale, shape (batch, 2).
            variations: int64, shape (batch,).
        """
        scaled = (points - SCALE_MIDDLE) / (SCALE_MAX - SCALE_MIDDLE)
        states: Tensor = self.numbers(scaled).view(-1, *self.variations.shape[1:]) + self.variations[variations]
        return states


def save_numbers(numbers: NumberStates, folder: Path) -> str:
    """Writes the network; its digest, `sha256:` and 64 hex digits over the file."""
    weights = {key: value.detach().cpu().contiguous() for key, value in numbers.state_dict().items()}
    data: bytes = save(weights, {_NUMBERS_SHAPE: json.dumps(numbers.shape)})
    write_whole(folder / _NUMBERS, data)
    return "sha256:" + hashlib.sha256(data).hexdigest()


def load_numbers(folder: Path) -> tuple[NumberStates, str]:
    """What `save_numbers` wrote, and its digest.

    Raises:
        FailedPrecondition: it can't be read.
    """
    path = folder / _NUMBERS
    try:
        with safe_open(path, "pt") as file:
            shape = json.loads(file.metadata()[_NUMBERS_SHAPE])
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        numbers = NumberStates(**shape)
        numbers.load_state_dict(weights)
        return numbers.eval(), "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error}") from error


def collect_states(reasoner: Reasoner, lessons: Sequence[Lesson], folder: Path) -> None:
    """Asks the judge about the lessons that are not in the folder yet.

    Raises:
        FailedPrecondition: the folder holds another judge's tokens.
        InvalidRequest: a lesson names a variation that the judge doesn't have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(lessons), _SHARD):
        path = folder / f"{first:06d}.safetensors"
        if path.exists():
            _require_judge(path, reasoner.info)
            continue
        tensors = _asked(reasoner, lessons[first : first + _SHARD])
        write_whole(path, save(tensors, {"judge": reasoner.info.digest}))
        say(f"the judge has reasoned about {min(first + _SHARD, len(lessons))} of {len(lessons)} lessons")


def read_states(folder: Path) -> States:
    """All that `collect_states` has written."""
    shards = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            shards.append({key: file.get_tensor(key) for key in ("looked", "imagined", "variation")})
    return States(**{key: torch.cat([shard[key] for shard in shards]) for key in shards[0]})


def _asked(reasoner: Reasoner, lessons: Sequence[Lesson]) -> dict[str, Tensor]:
    pictured = [place for place, lesson in enumerate(lessons) if lesson.picture]
    seen = [picture() for place in pictured if (picture := lessons[place].picture)]
    of_pictures = dict(zip(pictured, reasoner.look(seen) if seen else [], strict=True))
    imaginations = [
        (place, Imagination(prompt=lesson.prompt, target=target), variation)
        for place, lesson in enumerate(lessons)
        if (target := lesson.target)
        for variation in lesson.variations
    ]
    found: Sequence[Tensor] = []
    if imaginations:
        found = list(reasoner.imagine([(one, variation) for _, one, variation in imaginations]))
    of_imaginations: dict[int, dict[int, Tensor]] = {}
    for (place, _, variation), states in zip(imaginations, found, strict=True):
        of_imaginations.setdefault(place, {})[variation] = states
    chosen = {place: _nearest(some, of_pictures.get(place)) for place, some in of_imaginations.items()}
    looked, imagined = (torch.zeros(len(lessons), *reasoner.shape) for _ in range(2))
    for place, states in of_pictures.items():
        looked[place] = states
    for place, variation in chosen.items():
        imagined[place] = of_imaginations[place][variation]
    variations = torch.tensor([chosen.get(place, -1) for place in range(len(lessons))])
    return {"looked": looked.half(), "imagined": imagined.half(), "variation": variations}


def _nearest(some: dict[int, Tensor], wanted: Tensor | None) -> int:
    """The variation whose tokens are nearest to those of the picture."""
    if len(some) == 1 or wanted is None:
        return next(iter(some))
    return min(some, key=lambda variation: float((some[variation] - wanted).square().sum()))


def _require_judge(path: Path, info: ModelInfo) -> None:
    with safe_open(path, "pt") as file:
        before = file.metadata()["judge"]
    if before != info.digest:
        raise FailedPrecondition(
            f"{path.parent} holds the tokens of another judge ({before}), this one is {info.name} ({info.digest}): "
            "take another folder"
        )


def points_of(lessons: Sequence[Lesson]) -> Tensor:
    """Valence and arousal of the lessons' targets, shape (lessons, 2); the middle where they have none."""
    middle = AffectPoint(SCALE_MIDDLE, SCALE_MIDDLE)
    targets = [lesson.target or middle for lesson in lessons]
    return torch.tensor([[target.valence, target.arousal] for target in targets])
