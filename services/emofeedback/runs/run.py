"""What one run of the loop has come to, and its form in `result.json`.

An `OptimizationRun` is folded from the loop's events: `advance(run, event)` is the run after the event. So the command,
the report and a resumed run see one record, whether the loop ran in process or behind an address.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.optimization import (
    Answer,
    Candidate,
    GradientEstimated,
    ImagePainted,
    LossComputed,
    OptimizationEvent,
    OptimizationFinished,
    OptimizationRequest,
    Round,
    RoundFinished,
    StopReason,
    WordsUnknown,
)
from emofeedback.domain.recipe import FORMAT as RECIPE_FORMAT
from emofeedback.domain.recipe import PictureRecipe


@dataclass(frozen=True, kw_only=True)
class Criticism:
    """What the judge said aloud about the two pictures that a round compared."""

    best: Answer
    """May come from an earlier round."""
    worst: Answer
    """May come from an earlier round, too: the best so far, where it is the farthest."""
    best_reasoning: str
    worst_reasoning: str


@dataclass(frozen=True, kw_only=True)
class OptimizationRun:
    """One run of the loop, finished or not."""

    request: OptimizationRequest
    """What was asked for; where a cut run goes on is not part of it."""
    profile: str | None
    """None where services at an address did the work: they have their own."""
    generator: ModelInfo | None = None
    """None until the first image is painted."""
    judge: ModelInfo | None = None
    """None until the run is finished."""
    rounds: tuple[Round, ...] = ()
    criticisms: Mapping[int, Criticism] = field(default_factory=dict)
    """By the index of the round."""
    unknown_words: tuple[str, ...] = ()
    """Words of any round's prompt that the generator has never seen."""
    best: Answer | None = None
    """The best image so far."""
    stopped_because: StopReason | None = None
    """None while the run is not finished."""
    seconds: float = 0.0
    """Time spent painting, judging and rewriting; a resumed run counts the rounds before the cut as well."""
    loss: LossComputed | None = None
    """Step 1 of the round under way."""

    @property
    def state(self) -> str:
        """Why the run is over, or that it is not, in words."""
        match self.stopped_because:
            case None:
                return "not finished"
            case StopReason.ROUNDS:
                return "all rounds done"
            case StopReason.TOLERANCE:
                return "near enough to the target"
            case StopReason.PLATEAU:
                return "no more gain"
            case StopReason.TIME_BUDGET:
                return "time was over"

    @property
    def best_candidate(self) -> Candidate | None:
        """The candidate that `best` points to."""
        return None if self.best is None else self.candidate(self.best)

    @property
    def remembers(self) -> bool:
        """Whether some images were chosen by their likely error, for which the loop looks into its memory."""
        return any(candidate.likely_loss is not None for turn in self.rounds for candidate in turn.candidates)

    @property
    def imagines(self) -> bool:
        """Whether some images were painted from what the judge imagined."""
        return any(candidate.imagined for turn in self.rounds for candidate in turn.candidates)

    def candidate(self, answer: Answer) -> Candidate:
        """The candidate of a finished round that an answer points to."""
        return self.rounds[answer.round].candidates[answer.index]


def image_path(round_index: int, index: int) -> str:
    """Where an image lies inside the run directory; people count from 1."""
    return f"round-{round_index + 1}/image-{index + 1}.png"


def advance(run: OptimizationRun, event: OptimizationEvent) -> OptimizationRun:
    """The run after one more event of the loop."""
    match event:
        case WordsUnknown():
            words = dict.fromkeys((*run.unknown_words, *event.words))
            return dataclasses.replace(run, unknown_words=tuple(words))
        case ImagePainted():
            return dataclasses.replace(run, generator=event.image.model)
        case LossComputed():
            return dataclasses.replace(run, loss=event)
        case GradientEstimated() if run.loss and run.loss.best and run.loss.worst:
            criticism = Criticism(
                best=run.loss.best,
                worst=run.loss.worst,
                best_reasoning=event.best_reasoning,
                worst_reasoning=event.worst_reasoning,
            )
            return dataclasses.replace(run, criticisms={**run.criticisms, event.round: criticism})
        case RoundFinished():
            return dataclasses.replace(
                run,
                rounds=(*run.rounds, event.round),
                best=run.loss.best if run.loss else run.best,
                seconds=run.seconds + event.round.seconds,
                loss=None,
            )
        case OptimizationFinished():
            return dataclasses.replace(
                run,
                best=event.answer,
                stopped_because=event.stopped_because,
                seconds=event.seconds,
                generator=run.generator or event.generator,  # the policy that painted is known to the images alone
                judge=event.judge,
            )
    return run


# --- result.json -------------------------------------------------------------------------------------------------

FORMAT = "emofeedback.run/2"
_NOT_KEPT: Any = {"loss": True, "request": {"resume": True, "request_id": True}}


def to_json(run: OptimizationRun) -> dict[str, Any]:
    """The content of `result.json` (docs/result.schema.json): the run, and where in its folder each image lies."""
    content: dict[str, Any] = _adapter().dump_python(run, mode="json", exclude=_NOT_KEPT)
    for finished in content["rounds"]:
        for candidate in finished["candidates"]:
            candidate["path"] = image_path(finished["index"], candidate["index"])
    if run.best is not None:
        content["best"]["path"] = image_path(run.best.round, run.best.index)
    return {"format": FORMAT, **content}


def from_json(content: Mapping[str, Any]) -> OptimizationRun:
    """The run that `to_json` wrote, or an earlier version of it.

    Raises:
        LookupError, TypeError, ValueError: it is not such a content.
    """
    run = _adapter().validate_python(content if "format" in content else _from_first_format(content))
    if [finished.index for finished in run.rounds] != list(range(len(run.rounds))):
        raise ValueError("rounds are missing")
    compared = [answer for criticism in run.criticisms.values() for answer in (criticism.best, criticism.worst)]
    for answer in filter(None, (run.best, *compared)):
        run.candidate(answer)
    return run


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `result.json`."""
    schema = _adapter().json_schema(mode="serialization")
    records = schema["$defs"]
    for owner, name, record in ((schema, "loss", "LossComputed"), (records["OptimizationRequest"], "resume", "Resume")):
        del owner["properties"][name], records[record]
    del records["OptimizationRequest"]["properties"]["request_id"]
    for record in ("Candidate", "Answer"):
        records[record]["properties"]["path"] = {"type": "string", "title": "Path in the run's folder"}
    schema["properties"] = {"format": {"const": FORMAT}, **schema["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of the recipe that a picture carries."""
    schema = TypeAdapter(PictureRecipe).json_schema(mode="serialization")
    schema["properties"] = {"format": {"const": RECIPE_FORMAT}, **schema["properties"]}
    schema["required"] = ["format", *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@cache
def _adapter() -> TypeAdapter[OptimizationRun]:
    return TypeAdapter(OptimizationRun)


def _from_first_format(content: Mapping[str, Any]) -> dict[str, Any]:
    """`result.json` had the request's fields beside the others, and outcomes within their images."""
    request = {key: content[key] for key in ("prompt", "target", "seed")} | {"images": content["images_per_round"]}
    rounds = []
    for finished in content["rounds"]:
        candidates = [
            {**image, "index": i, "outcome": image if image["failure"] is None else {"reason": image["failure"]}}
            for i, image in enumerate(finished["images"])
        ]
        rounds.append({**finished, "candidates": candidates})
    return {
        **content,
        "request": {**request, "user": content.get("user", "")},
        "rounds": rounds,
        "criticisms": {r["index"]: r["criticism"] for r in content["rounds"] if r["criticism"]},
    }
