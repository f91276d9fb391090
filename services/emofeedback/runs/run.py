"""What one run of the loop has come to, and its form in `result.json`.

An `OptimizationRun` is folded from the loop's events: `advance(run, event)` is the run after the event. So the command,
the report and a resumed run see one record, whether the loop ran in process or behind an address.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment, AssessmentFailure, AssessmentOutcome
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.optimization import (
    Answer,
    Candidate,
    GradientEstimated,
    ImagePainted,
    LossComputed,
    OptimizationEvent,
    OptimizationFinished,
    Rejection,
    Round,
    RoundFinished,
    StopReason,
    WordsUnknown,
)


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

    prompt: str
    target: AffectPoint
    profile: str | None
    """None where services at an address did the work: they have their own."""
    seed: int
    images: int
    """Images a round."""
    user: str = ""
    """By whose calibration its images were judged; empty: nobody's."""
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
                generator=event.generator,
                judge=event.judge,
            )
    return run


# --- result.json -------------------------------------------------------------------------------------------------


def to_json(run: OptimizationRun) -> dict[str, Any]:
    """The content of `result.json`."""
    return {
        "prompt": run.prompt,
        "target": dataclasses.asdict(run.target),
        "profile": run.profile,
        "seed": run.seed,
        "images_per_round": run.images,
        "user": run.user,
        "generator": run.generator and dataclasses.asdict(run.generator),
        "judge": run.judge and {"name": run.judge.name, "digest": run.judge.digest},
        "unknown_words": list(run.unknown_words),
        "rounds": [_round_to_json(r, run.criticisms.get(r.index)) for r in run.rounds],
        "best": _best_to_json(run),
        "stopped_because": run.stopped_because,
        "seconds": round(run.seconds, 3),
    }


def from_json(content: Mapping[str, Any]) -> OptimizationRun:
    """The run that `to_json` wrote.

    Raises:
        LookupError, TypeError, ValueError: it is not such a content.
    """
    rounds = tuple(map(_round_from_json, content["rounds"]))
    best = content["best"]
    stopped = content["stopped_because"]
    judge = content["judge"]
    run = OptimizationRun(
        prompt=str(content["prompt"]),
        target=AffectPoint(**content["target"]),
        profile=content["profile"],
        seed=int(content["seed"]),
        images=int(content["images_per_round"]),
        user=str(content.get("user", "")),  # a run of an earlier version has none
        generator=ModelInfo(**content["generator"]) if content["generator"] else None,
        judge=ModelInfo(**judge) if judge else None,
        unknown_words=tuple(content["unknown_words"]),
        rounds=rounds,
        criticisms={r["index"]: _criticism_from_json(r["criticism"]) for r in content["rounds"] if r["criticism"]},
        best=_answer_from_json(best) if best else None,
        stopped_because=StopReason(stopped) if stopped else None,
        seconds=float(content["seconds"]),
    )
    if [r.index for r in rounds] != list(range(len(rounds))):
        raise ValueError("rounds are missing")
    compared = [answer for criticism in run.criticisms.values() for answer in (criticism.best, criticism.worst)]
    for answer in filter(None, (run.best, *compared)):
        run.candidate(answer)
    return run


def _best_to_json(run: OptimizationRun) -> dict[str, Any] | None:
    candidate = run.best_candidate
    if run.best is None or candidate is None:
        return None
    assessment = _outcome_to_json(candidate.outcome)
    return {
        "round": run.best.round,
        "index": run.best.index,
        "path": image_path(run.best.round, run.best.index),
        "valence": assessment["valence"],
        "arousal": assessment["arousal"],
        "loss": run.best.loss,
    }


def _round_to_json(finished: Round, criticism: Criticism | None) -> dict[str, Any]:
    return {
        "index": finished.index,
        "prompt": finished.prompt,
        "images": [
            {
                "path": image_path(finished.index, candidate.index),
                "seed": candidate.seed,
                **_outcome_to_json(candidate.outcome),
                "loss": candidate.loss,
                "alignment": candidate.alignment,
                "on_subject": candidate.on_subject,
            }
            for candidate in finished.candidates
        ],
        "best": finished.best,
        "worst": finished.worst,
        "criticism": criticism and dataclasses.asdict(criticism),
        "analysis": finished.analysis,
        "optimized_prompt": finished.optimized_prompt,
        "rejected": [dataclasses.asdict(rejection) for rejection in finished.rejected],
        "seconds": round(finished.seconds, 3),
    }


def _outcome_to_json(outcome: AssessmentOutcome) -> dict[str, Any]:
    if isinstance(outcome, AssessmentFailure):
        unread = dict.fromkeys(("valence", "arousal", "emotion", "confidence", "reasoning"))
        return {**unread, "failure": outcome.reason}
    return {**dataclasses.asdict(outcome), "failure": None}


def _round_from_json(content: Mapping[str, Any]) -> Round:
    return Round(
        index=int(content["index"]),
        prompt=str(content["prompt"]),
        candidates=tuple(_candidate_from_json(i, image) for i, image in enumerate(content["images"])),
        best=content["best"],
        worst=content["worst"],
        analysis=str(content["analysis"]),
        optimized_prompt=str(content["optimized_prompt"]),
        rejected=tuple(Rejection(**rejection) for rejection in content["rejected"]),
        seconds=float(content["seconds"]),
    )


def _candidate_from_json(index: int, image: Mapping[str, Any]) -> Candidate:
    outcome: AssessmentOutcome
    if image["failure"] is not None:
        outcome = AssessmentFailure(reason=str(image["failure"]))
    else:
        outcome = Assessment(
            valence=float(image["valence"]),
            arousal=float(image["arousal"]),
            emotion=Emotion(image["emotion"]),
            confidence=float(image["confidence"]),
            reasoning=str(image["reasoning"]),
        )
    return Candidate(
        index=index,
        seed=int(image["seed"]),
        outcome=outcome,
        loss=None if image["loss"] is None else float(image["loss"]),
        alignment=float(image["alignment"]),
        on_subject=bool(image["on_subject"]),
    )


def _criticism_from_json(content: Mapping[str, Any]) -> Criticism:
    return Criticism(
        best=_answer_from_json(content["best"]),
        worst=_answer_from_json(content["worst"]),
        best_reasoning=str(content["best_reasoning"]),
        worst_reasoning=str(content["worst_reasoning"]),
    )


def _answer_from_json(content: Mapping[str, Any]) -> Answer:
    return Answer(round=int(content["round"]), index=int(content["index"]), loss=float(content["loss"]))
