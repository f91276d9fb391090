"""The loop over scripted engines, for the tests of what it does: how it is run, and how its events are read."""

from dataclasses import replace

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.optimization import OptimizationFinished, OptimizationRequest, RoundFinished
from emofeedback.optimizer.loop import optimize
from emofeedback.profiles.profile import OptimizerSettings
from support.fakes import UNREADABLE, ScriptedGenerator, ScriptedJudge, assessment

TARGET = AffectPoint(7.0, 3.0)
SETTINGS = OptimizerSettings(text_floor=0.5, image_floor=0.2, rewrites=1)
REQUEST = OptimizationRequest(prompt="a boat", target=TARGET, rounds=3, images=4, seed=10)


async def collect(events, request=REQUEST, generator=None, judge=None, settings=SETTINGS):
    """Runs the loop; `events` holds what came before a failure too."""
    generator, judge = generator or ScriptedGenerator(), judge or ScriptedJudge()
    async for event in optimize(request, generator=generator, judge=judge, settings=settings):
        events.append(event)


async def run(*args, **kwargs):
    """All events of a run."""
    events = []
    await collect(events, *args, **kwargs)
    return events


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def finished_rounds(events):
    return [event.round for event in of(RoundFinished, events)]


def without_time(event):
    match event:
        case RoundFinished():
            return replace(event, round=replace(event.round, seconds=0))
        case OptimizationFinished():
            return replace(event, seconds=0)
    return event


def errors_by_round(*rounds, lost=()):
    """A judge for which image i of round r is `rounds[r][i]` from the target (None: unreadable).

    Rounds are told apart by their prompts, which the judge itself rewrites: "a boat", "a boat, 1", "a boat, 2".
    Pictures in `lost`, pairs of round and index, do not show the subject.
    """

    def place(picture):
        return (int(picture.prompt.split(", ")[1]) if ", " in picture.prompt else 0), picture.seed - REQUEST.seed

    def feeling(picture):
        index, image = place(picture)
        error = rounds[index][image]
        return UNREADABLE if error is None else assessment(TARGET.valence - error, TARGET.arousal)

    def alignment(picture, prompt):
        return 0.1 if place(picture) in lost else 0.6

    rewrites = [f"<prompt>a boat, {index}</prompt>" for index in range(1, 9)]
    return ScriptedJudge(feeling=feeling, alignment=alignment, rewrites=rewrites)
