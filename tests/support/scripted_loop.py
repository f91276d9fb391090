"""The loop over scripted engines, for the tests of what it does: how it is run, and how its events are read."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import AssessmentOutcome, Conversation
from emofeedback.domain.optimization import (
    Answer,
    OptimizationEvent,
    OptimizationFinished,
    OptimizationRequest,
    Round,
    RoundFinished,
)
from emofeedback.optimizer.loop import optimize
from emofeedback.profiles.profile import OptimizerSettings
from support.fakes import UNREADABLE, Picture, ScriptedGenerator, ScriptedJudge, assessment, look

Event = TypeVar("Event")

TARGET = AffectPoint(7.0, 3.0)
SETTINGS = OptimizerSettings(text_floor=0.5, image_floor=0.2, rewrites=1)
REQUEST = OptimizationRequest(prompt="a boat", target=TARGET, rounds=3, images=4, seed=10)


async def collect(
    events: list[OptimizationEvent],
    request: OptimizationRequest = REQUEST,
    generator: ScriptedGenerator | None = None,
    judge: ScriptedJudge | None = None,
    settings: OptimizerSettings = SETTINGS,
) -> None:
    """Runs the loop; `events` holds what came before a failure too."""
    generator, judge = generator or ScriptedGenerator(), judge or ScriptedJudge()
    async for event in optimize(request, generator=generator, judge=judge, settings=settings):
        events.append(event)  # noqa: PERF401, a comprehension would keep nothing


async def run(
    request: OptimizationRequest = REQUEST,
    generator: ScriptedGenerator | None = None,
    judge: ScriptedJudge | None = None,
    settings: OptimizerSettings = SETTINGS,
) -> list[OptimizationEvent]:
    """All events of a run."""
    events: list[OptimizationEvent] = []
    await collect(events, request, generator, judge, settings)
    return events


def of(kind: type[Event], events: Iterable[OptimizationEvent]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def finished_rounds(events: Iterable[OptimizationEvent]) -> list[Round]:
    return [event.round for event in of(RoundFinished, events)]


def finished(events: Sequence[OptimizationEvent]) -> OptimizationFinished:
    """The last event of a run that was not broken."""
    last = events[-1]
    assert isinstance(last, OptimizationFinished)
    return last


def answer_of(events: Sequence[OptimizationEvent]) -> Answer:
    """The answer of a run that has one."""
    answer = finished(events).answer
    assert answer is not None
    return answer


def question(conversation: Conversation) -> str:
    """The words of what the agent was asked."""
    text = conversation[0].parts[-1]
    assert isinstance(text, str)
    return text


def compared(conversation: Conversation) -> tuple[Picture, Picture]:
    """The best and the worst picture, which the agent was asked to compare."""
    best, worst, _ = conversation[0].parts
    assert isinstance(best, bytes) and isinstance(worst, bytes)
    return look(best), look(worst)


def without_time(event: OptimizationEvent) -> OptimizationEvent:
    match event:
        case RoundFinished():
            return replace(event, round=replace(event.round, seconds=0))
        case OptimizationFinished():
            return replace(event, seconds=0)
    return event


def errors_by_round(*rounds: Sequence[float | None], lost: Collection[tuple[int, int]] = ()) -> ScriptedJudge:
    """A judge for which image i of round r is `rounds[r][i]` from the target (None: unreadable).

    Rounds are told apart by their prompts, which the judge itself rewrites: "a boat", "a boat, 1", "a boat, 2".
    Pictures in `lost`, pairs of round and index, do not show the subject.
    """

    def place(picture: Picture) -> tuple[int, int]:
        return (int(picture.prompt.split(", ")[1]) if ", " in picture.prompt else 0), picture.seed - REQUEST.seed

    def feeling(picture: Picture) -> AssessmentOutcome:
        index, image = place(picture)
        error = rounds[index][image]
        return UNREADABLE if error is None else assessment(TARGET.valence - error, TARGET.arousal)

    def alignment(picture: Picture, prompt: str) -> float:
        return 0.1 if place(picture) in lost else 0.6

    rewrites = [f"<prompt>a boat, {index}</prompt>" for index in range(1, 9)]
    return ScriptedJudge(feeling=feeling, alignment=alignment, rewrites=rewrites)
