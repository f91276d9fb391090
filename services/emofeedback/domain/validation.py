"""Are requests within their limits? The same questions on the wire, in process and in the command.

Each function raises `InvalidRequest` with what it finds, `MAX_VIOLATIONS` at most: the field under its dotted proto
name, what is wrong with it, and the limit. The entries of a list are looked at only where there may be so many.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar, get_args

from emofeedback.domain.affect import LEXICON, SCALE_MAX, SCALE_MIN, AffectPoint, Emotion
from emofeedback.domain.assessment import (
    Assessment,
    AssessmentOutcome,
    Conversation,
    Decoding,
    Distribution,
    Message,
)
from emofeedback.domain.errors import MAX_VIOLATIONS, FieldViolation, InvalidRequest
from emofeedback.domain.generation import GenerationRequest, NoiseKind, NoiseWindow, TrajectoryRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    Candidate,
    GradientRequest,
    LossRequest,
    OptimizationRequest,
    Proposal,
    Resume,
    Round,
    UpdateRequest,
)
from emofeedback.domain.text import did_you_mean
from emofeedback.domain.training import RunRequest

Item = TypeVar("Item")
Violations = Iterator[FieldViolation]


def check_most(field: str, items: Sequence[object], limit: int) -> None:
    """A list, before anything is made of its entries: 64 MiB may hold millions."""
    if len(items) > limit:
        _raise(_count(field, len(items), limit))


def check_generation_request(request: GenerationRequest) -> None:
    """One call of the generator."""
    _raise(
        _text("prompt", request.prompt),
        _seeds(request.seeds),
        _text("negative_prompt", request.negative_prompt, required=False),
        _optional("steps", request.steps, 1, LIMITS.steps),
        _optional("guidance", request.guidance, 1, LIMITS.guidance),
        _name("policy", request.policy),
        _name("request_id", request.request_id),
    )


def check_trajectory_request(request: TrajectoryRequest) -> None:
    """One group of trajectories."""
    _raise(
        _text("prompt", request.prompt),
        _seeds(request.seeds),
        _number("steps", request.steps, 1, LIMITS.steps),
        _optional("start_seed", request.start_seed, 0, LIMITS.seed),
        _window("window", request.window, request.steps),
        _text("negative_prompt", request.negative_prompt, required=False),
        _number("guidance", request.guidance, 1, LIMITS.guidance),
        _name("policy", request.policy),
        _name("request_id", request.request_id),
    )


def check_optimization_request(request: OptimizationRequest) -> None:
    """One run of the loop."""
    _raise(
        _text("prompt", request.prompt),
        _number("rounds", request.rounds, 1, LIMITS.rounds),
        _number("images", request.images, 1, LIMITS.images_per_call),
        _number("seed", request.seed, 0, LIMITS.seed),
        _optional("tolerance", request.tolerance, 0, 2 * (SCALE_MAX - SCALE_MIN)),
        _optional("time_budget_seconds", request.time_budget, 0, LIMITS.time_budget_seconds),
        _name("policy", request.policy),
        _user("user", request.user, required=False),
        _optional("steps", request.steps, 1, LIMITS.steps),
        _name("request_id", request.request_id),
        _resume(request.resume, request) if request.resume is not None else (),
    )


def check_assessment(images: Sequence[bytes], user: str) -> None:
    """A batch of encoded images, whether each is a picture is for the judge to see; and a person's id, or none."""
    _raise(_images("images", images), _user("user", user, required=False))


def check_user(user: str, *, required: bool = True) -> None:
    """The id of a person, or where none is required, perhaps none."""
    _raise(_user("user", user, required=required))


def check_streamed_image(image: bytes, user: str, first_user: str) -> None:
    """One encoded image of a stream, and the person that it names: the one that the first image named."""
    _raise(_image("image", image), _same_user("user", user, first_user))


def check_scoring(images: Sequence[bytes], prompt: str) -> None:
    """A batch of encoded images and the prompt that they should fit."""
    _raise(_images("images", images), _text("prompt", prompt))


def check_comparison(text: str, candidates: Sequence[str]) -> None:
    """A text and the texts to compare with it."""
    _raise(
        _text("text", text),
        _each("candidates", candidates, LIMITS.images_per_call, _text),
    )


def check_conversations(conversations: Sequence[Conversation], decoding: Decoding) -> None:
    """Conversations with images, and how their replies are sampled."""
    _raise(
        _each("conversations", conversations, LIMITS.conversations_per_call, _conversation),
        _number("decoding.max_new_tokens", decoding.max_new_tokens, 1, LIMITS.new_tokens),
        _number("decoding.temperature", decoding.temperature, 0, LIMITS.temperature),
        _number("decoding.seed", decoding.seed, 0, LIMITS.seed),
    )


def check_loss_request(request: LossRequest) -> None:
    """Step 1 of the loop."""
    _raise(
        _each("assessments", request.assessments, LIMITS.images_per_call, _assessment),
    )


def check_gradient_request(request: GradientRequest) -> None:
    """Step 2 of the loop."""
    _raise(
        _text("prompt", request.prompt),
        _image("best_image", request.best_image),
        _assessment("best", request.best),
        _image("worst_image", request.worst_image),
        _assessment("worst", request.worst),
    )


def check_update_request(request: UpdateRequest) -> None:
    """Step 3 of the loop."""
    _raise(
        _text("original_prompt", request.original_prompt),
        _text("prompt", request.prompt),
        _text("analysis", request.analysis, limit=LIMITS.text_characters),
    )


def check_run_request(request: RunRequest) -> None:
    """A training run to start or to go on with."""
    _raise(
        _run_name("name", request.name),
        _text("config", request.config, required=not request.resume, limit=LIMITS.text_characters),
        _left_out("config", request.config, "a run is resumed with its own") if request.resume else (),
        _name("request_id", request.request_id),
    )


def check_run_name(name: str) -> None:
    """The name of a training run."""
    _raise(_run_name("name", name))


def check_run_list(limit: int) -> None:
    """How many training runs a list may hold."""
    _raise(_number("limit", limit, 1, LIMITS.runs_per_list))


def check_watch(name: str, from_iteration: int) -> None:
    """A training run to watch from an iteration on."""
    _raise(_run_name("name", name), _number("from_iteration", from_iteration, 0, 2**31 - 1))


def target_point(valence: float, arousal: float) -> AffectPoint:
    """The point, where both coordinates lie on the scale."""
    _raise(
        _number("target.valence", valence, SCALE_MIN, SCALE_MAX),
        _number("target.arousal", arousal, SCALE_MIN, SCALE_MAX),
    )
    return AffectPoint(valence, arousal)


def emotion_point(name: str) -> AffectPoint:
    """The lexicon's mean for one of the eight emotions."""
    try:
        return LEXICON[Emotion(name)].point
    except ValueError:
        problem = f"{name!r} is not one of {', '.join(Emotion)}{did_you_mean(name, Emotion)}"
        raise InvalidRequest.of("target.emotion", problem) from None


def target_from(valence: float | None, arousal: float | None, emotion: str | None) -> AffectPoint:
    """What a person asked for: valence and arousal, or else an emotion."""
    if emotion is not None and (valence is not None or arousal is not None):
        raise InvalidRequest.of("target", "has a point and an emotion, it must be one of the two")
    if emotion is not None:
        return emotion_point(emotion)
    if valence is None and arousal is None:
        raise InvalidRequest.of("target", "is missing, it must be a point (valence and arousal) or an emotion")
    if valence is None or arousal is None:
        missing = "valence" if valence is None else "arousal"
        raise InvalidRequest.of(f"target.{missing}", "is missing, a point needs both valence and arousal")
    return target_point(valence, arousal)


# --- single fields, each an iterator over what is wrong -----------------------------------------------------------


def _raise(*checks: Iterable[FieldViolation]) -> None:
    violations = list(islice(chain.from_iterable(checks), MAX_VIOLATIONS))
    if violations:
        raise InvalidRequest(*violations)


def _number(field: str, value: float, low: float, high: float) -> Violations:
    if math.isnan(value) or not low <= value <= high:
        bounds = f"[{_plain(low)}, {_plain(high)}]"
        yield FieldViolation(field, f"is {_plain(value)}, it must lie in {bounds}")


def _optional(field: str, value: float | None, low: float, high: float) -> Violations:
    if value is not None:
        yield from _number(field, value, low, high)


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _count(field: str, count: int, limit: int) -> Violations:
    if not count:
        yield FieldViolation(field, f"is empty, 1 to {limit} are needed")
    elif count > limit:
        yield FieldViolation(field, f"has {count} entries, at most {limit} are allowed")


def _each(field: str, items: Sequence[Item], limit: int, check: Callable[[str, Item], Violations]) -> Violations:
    """How many there are; where there may be so many, each of them."""
    yield from _count(field, len(items), limit)
    if len(items) <= limit:
        for i, item in enumerate(items):
            yield from check(f"{field}[{i}]", item)


def _seeds(seeds: Sequence[int]) -> Violations:
    yield from _each("seeds", seeds, LIMITS.images_per_call, lambda field, seed: _number(field, seed, 0, LIMITS.seed))


def _text(field: str, text: str, *, required: bool = True, limit: int = LIMITS.prompt_characters) -> Violations:
    if not text and required:
        yield FieldViolation(field, "is empty")
    elif text and required and not text.strip():
        yield FieldViolation(field, "is only white space")
    elif len(text) > limit:
        yield FieldViolation(field, f"has {len(text)} characters, at most {limit} are allowed")
    elif any("\ud800" <= character <= "\udfff" for character in text):
        yield FieldViolation(field, "is not valid Unicode, it holds half of a surrogate pair")


def _name(field: str, name: str) -> Violations:
    yield from _text(field, name, required=False, limit=LIMITS.name_characters)


def _run_name(field: str, name: str) -> Violations:
    """It becomes the name of a folder and of policies, so it is plain and can't lead out of its folder."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) or len(name) > LIMITS.run_name_characters:
        rule = f"1 to {LIMITS.run_name_characters} small letters, digits, '-', '_' and '.', a letter or digit first"
        yield FieldViolation(field, f"is {name[: LIMITS.run_name_characters]!r}, it must be {rule}")


def _user(field: str, user: str, *, required: bool = True) -> Violations:
    """It becomes the name of a file, so it is plain and can't lead out of its folder."""
    if not user and not required:
        return
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", user) or len(user) > LIMITS.name_characters:
        rule = f"1 to {LIMITS.name_characters} letters a-z and A-Z, digits, '-', '_' and '.', a letter or digit first"
        yield FieldViolation(field, f"is {user[: LIMITS.name_characters]!r}, it must be {rule}")


def _same_user(field: str, user: str, first_user: str) -> Violations:
    if user != first_user:
        yield FieldViolation(field, f"is {user!r}, the stream began with {first_user!r}: each stream is for one person")


def _left_out(field: str, text: str, reason: str) -> Violations:
    if text:
        yield FieldViolation(field, f"must be empty: {reason}")


def _window(field: str, window: NoiseWindow, steps: int) -> Violations:
    if window.kind not in get_args(NoiseKind):
        yield FieldViolation(f"{field}.kind", f"is {window.kind!r}, it must be one of {', '.join(get_args(NoiseKind))}")
    highest = LIMITS.cps_noise_level if window.kind == "cps" else LIMITS.sde_noise_level
    yield from _number(f"{field}.level", window.level, LIMITS.smallest_noise_level, highest)
    if window.first < 0:
        yield FieldViolation(f"{field}.first", f"is {window.first}, it must not be negative")
    if window.length < 0:
        yield FieldViolation(f"{field}.length", f"is {window.length}, it must not be negative")
    if 1 <= steps <= window.first + window.length:
        last = window.first + window.length - 1
        yield FieldViolation(
            field, f"ends with step {last}, but the last of {steps} steps, {steps - 1}, is never noisy"
        )


def _image(field: str, image: bytes) -> Violations:
    if not image:
        yield FieldViolation(field, "is empty, it must be a PNG, JPEG or WebP file")


def _images(field: str, images: Sequence[bytes]) -> Violations:
    yield from _each(field, images, LIMITS.images_per_call, _image)


def _assessment(field: str, assessment: Assessment) -> Violations:
    yield from _number(f"{field}.valence", assessment.valence, SCALE_MIN, SCALE_MAX)
    yield from _number(f"{field}.arousal", assessment.arousal, SCALE_MIN, SCALE_MAX)
    yield from _number(f"{field}.confidence", assessment.confidence, 0, 1)
    yield from _optional(f"{field}.domain_score", assessment.domain_score, 0, math.inf)
    yield from _optional(f"{field}.dominance", assessment.dominance, SCALE_MIN, SCALE_MAX)
    for name in ("valence_distribution", "arousal_distribution"):
        if (axis := getattr(assessment, name)) is not None:
            yield from _distribution(f"{field}.{name}", axis)
    for i, felt in enumerate(assessment.emotions):
        yield from _number(f"{field}.emotions[{i}].share", felt.share, 0, 1)
    if len({felt.emotion for felt in assessment.emotions}) < len(assessment.emotions):
        yield FieldViolation(f"{field}.emotions", "names an emotion twice")


def _distribution(field: str, axis: Distribution) -> Violations:
    steps = int(SCALE_MAX - SCALE_MIN) + 1
    if len(axis.shares) != steps:
        yield FieldViolation(f"{field}.shares", f"has {len(axis.shares)} entries, it must have {steps}")
    for i, share in enumerate(axis.shares):
        yield from _number(f"{field}.shares[{i}]", share, 0, 1)
    for end, value in (("low", axis.low), ("high", axis.high)):
        yield from _number(f"{field}.{end}", value, SCALE_MIN, SCALE_MAX)


def _conversation(field: str, turns: Conversation) -> Violations:
    yield from _each(f"{field}.messages", turns, LIMITS.conversation_messages, _message)


def _message(field: str, message: Message) -> Violations:
    yield from _each(f"{field}.parts", message.parts, LIMITS.message_parts, _part)


def _part(field: str, part: str | bytes) -> Violations:
    if isinstance(part, bytes):
        yield from _image(f"{field}.image", part)
    else:
        yield from _text(f"{field}.text", part, required=False, limit=LIMITS.text_characters)


def _outcome(field: str, outcome: AssessmentOutcome) -> Violations:
    if isinstance(outcome, Assessment):
        yield from _assessment(field, outcome)


def _resume(resume: Resume, request: OptimizationRequest) -> Violations:
    if not 1 <= len(resume.rounds) <= request.rounds:
        yield FieldViolation("resume.rounds", f"has {len(resume.rounds)} entries, 1 to {request.rounds} are needed")
    if not resume.best_image and any(done.best is not None for done in resume.rounds):
        yield FieldViolation("resume.best_image", "is empty, though a round has a best image")
    for i, done in enumerate(resume.rounds[: LIMITS.rounds]):
        field = f"resume.rounds[{i}]"
        if done.index != i:
            yield FieldViolation(f"{field}.index", f"is {done.index}, the rounds must be in order from 0")
        yield from _round(field, done)


def _round(field: str, done: Round) -> Violations:
    yield from _text(f"{field}.prompt", done.prompt)
    yield from _text(f"{field}.optimized_prompt", done.optimized_prompt, required=False)
    if done.further:
        yield from _each(f"{field}.further", done.further, LIMITS.images_per_call, _proposal)
    yield from _each(f"{field}.candidates", done.candidates, LIMITS.images_per_call, _candidate)
    for name, index in (("best", done.best), ("worst", done.worst)):
        if index is not None and index not in {candidate.index for candidate in done.candidates}:
            yield FieldViolation(f"{field}.{name}", f"is {index}, no candidate has this index")


def _proposal(field: str, proposal: Proposal) -> Violations:
    yield from _text(f"{field}.prompt", proposal.prompt)


def _candidate(field: str, candidate: Candidate) -> Violations:
    yield from _outcome(f"{field}.outcome", candidate.outcome)
