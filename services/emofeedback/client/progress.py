"""What a run of the loop has told so far: enough to go on after a break, and to know the answer at the end."""

from __future__ import annotations

import base64
import dataclasses
import html
import uuid
from collections.abc import Hashable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from emofeedback.domain.assessment import Assessment
from emofeedback.domain.errors import InternalError
from emofeedback.domain.generation import ModelInfo, save_png
from emofeedback.domain.optimization import (
    Answer,
    ImageJudged,
    ImagePainted,
    LossComputed,
    OptimizationEvent,
    OptimizationFinished,
    OptimizationRequest,
    PaintingStep,
    Resume,
    Round,
    RoundFinished,
    StopReason,
)
from emofeedback.domain.recipe import Reading, Wish, with_whole_recipe


@dataclass(frozen=True, kw_only=True, repr=False)
class Creation:
    """The result of a run."""

    image: bytes
    """The best picture over all rounds, a PNG."""
    assessment: Assessment
    """What it makes people feel."""
    loss: float
    """|V - V*| + |A - A*|, in [0, 16], and + |D - D*|, in [0, 24], where dominance was asked for."""
    prompt: str
    """What it was painted from."""
    seed: int
    rounds: tuple[Round, ...]
    stopped_because: StopReason
    seconds: float
    generator: ModelInfo
    judge: ModelInfo

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes the PNG, as `save_png` does, and returns where."""
        return save_png(self.image, path)

    def __repr__(self) -> str:
        feeling, rounds = self.assessment, len(self.rounds)
        return (
            f"Creation({self.prompt!r}, seed {self.seed}: {feeling.emotion}, valence {feeling.valence:.2f}, "
            f"arousal {feeling.arousal:.2f}, loss {self.loss:.2f} after {rounds} round{'' if rounds == 1 else 's'})"
        )

    def _repr_png_(self) -> bytes:
        """The picture itself, where a notebook can't show HTML."""
        return self.image

    def _repr_html_(self) -> str:
        """The picture and what it makes people feel, in a notebook."""
        picture = base64.b64encode(self.image).decode()
        words = html.escape(repr(self), quote=False)
        return f'<figure><img alt="" src="data:image/png;base64,{picture}"><figcaption>{words}</figcaption></figure>'


class Progress:
    """Folds the events of a run, over all tries."""

    def __init__(self, request: OptimizationRequest) -> None:
        self._original = dataclasses.replace(request, request_id=request.request_id or str(uuid.uuid4()))
        resume = request.resume
        self._rounds: list[Round] = list(resume.rounds) if resume else []
        self._resumed = len(self._rounds)
        self._best: Answer | None = None
        self._best_image = resume.best_image if resume else b""
        self._images: dict[tuple[int, int], bytes] = {}
        self._finished: OptimizationFinished | None = None
        self._next = self._original

    @property
    def request(self) -> OptimizationRequest:
        """What to ask for now: the run as it was asked for, or the rest of it after its last finished round.

        The rest is another request, so it has an id of its own.
        """
        if len(self._rounds) > self._resumed:
            self._resumed = len(self._rounds)
            resume = Resume(rounds=tuple(self._rounds), best_image=self._best_image)
            self._next = dataclasses.replace(self._original, resume=resume, request_id=str(uuid.uuid4()))
        return self._next

    def take(self, event: OptimizationEvent) -> None:
        """One more event."""
        match event:
            case ImagePainted():
                self._images[event.round, event.image.index] = event.image.data
            case LossComputed(best=Answer() as best):
                self._best = best
                self._best_image = self._images.get((best.round, best.index), self._best_image)
            case RoundFinished():
                self._rounds.append(event.round)
                self._images.clear()
            case OptimizationFinished():
                self._finished = event

    def creation(self) -> Creation:
        """The result of a run that has finished.

        Raises:
            InternalError: there is none, because the judge could read no picture.
        """
        finished = self._finished
        if finished is None:
            raise InternalError("the run ended without saying so")
        answer = finished.answer
        if answer is None:
            raise InternalError("the judge gave no readable reply for any picture of the run")
        round = self._rounds[answer.round]
        candidate = next(c for c in round.candidates if c.index == answer.index)
        if not isinstance(candidate.outcome, Assessment) or not self._best_image:
            raise InternalError("the run ended with an answer that it never showed")
        wish = Wish.of(self._original)
        return Creation(
            image=with_whole_recipe(self._best_image, wish, Reading.of(candidate.outcome, finished.judge)),
            assessment=candidate.outcome,
            loss=answer.loss,
            prompt=round.prompt,
            seed=candidate.seed,
            rounds=tuple(self._rounds),
            stopped_because=finished.stopped_because,
            seconds=finished.seconds,
            generator=finished.generator,
            judge=finished.judge,
        )


def identity(event: OptimizationEvent) -> Hashable:
    """What two tellings of one event have in common."""
    match event:
        case PaintingStep():
            return PaintingStep, event.round, event.step.index, event.step.step
        case ImagePainted():
            return ImagePainted, event.round, event.image.index
        case ImageJudged():
            return ImageJudged, event.round, event.candidate.index
        case RoundFinished():
            return RoundFinished, event.round.index
        case OptimizationFinished():
            return OptimizationFinished
    return type(event), event.round
