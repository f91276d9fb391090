"""Are the generator's requests within their limits?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from emofeedback.domain.errors import FieldViolation
from emofeedback.domain.generation import GenerationRequest, NoiseKind, NoiseWindow, TrajectoryRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.reasoning import EmotionTokens
from emofeedback.domain.validation import fields
from emofeedback.domain.validation.fields import Violations


def check_generation_request(request: GenerationRequest) -> None:
    """One call of the generator."""
    fields.require(
        fields.text("prompt", request.prompt),
        _seeds(request.seeds),
        fields.text("negative_prompt", request.negative_prompt, required=False),
        fields.optional("steps", request.steps, 1, LIMITS.steps),
        fields.optional("guidance", request.guidance, 1, LIMITS.guidance),
        fields.name("policy", request.policy),
        _emotion("emotion", request.emotion, LIMITS.emotion_variations),
        fields.number("emotion_scale", request.emotion_scale, 0, LIMITS.emotion_scale),
        fields.name("request_id", request.request_id),
    )


def check_trajectory_request(request: TrajectoryRequest) -> None:
    """One group of trajectories."""
    fields.require(
        fields.text("prompt", request.prompt),
        _seeds(request.seeds),
        fields.number("steps", request.steps, 1, LIMITS.steps),
        fields.optional("start_seed", request.start_seed, 0, LIMITS.seed),
        _window("window", request.window, request.steps),
        fields.text("negative_prompt", request.negative_prompt, required=False),
        fields.number("guidance", request.guidance, 1, LIMITS.guidance),
        fields.name("policy", request.policy),
        _emotion("emotion", request.emotion, 1),
        fields.number("emotion_scale", request.emotion_scale, 0, LIMITS.emotion_scale),
        fields.name("request_id", request.request_id),
    )


def _seeds(seeds: Sequence[int]) -> Violations:
    yield from fields.each(
        "seeds", seeds, LIMITS.images_per_call, lambda field, seed: fields.number(field, seed, 0, LIMITS.seed)
    )


def _emotion(field: str, emotion: EmotionTokens | None, variations: int) -> Violations:
    if emotion is None:
        return
    states = emotion.states
    most = (variations, LIMITS.emotion_tokens, LIMITS.emotion_width)
    if len(states.shape) != 3 or not all(1 <= size <= limit for size, limit in zip(states.shape, most, strict=True)):
        allowed = "1 variation" if variations == 1 else f"1 to {variations} variations"
        yield FieldViolation(
            f"{field}.states.shape",
            f"is {list(states.shape)}, it must be {allowed}, 1 to {most[1]} tokens and a width of 1 to {most[2]}",
        )
    elif not states.finite:
        yield FieldViolation(f"{field}.states", "has NaN or infinity in it")


def _window(field: str, window: NoiseWindow, steps: int) -> Violations:
    if window.kind not in get_args(NoiseKind):
        yield FieldViolation(f"{field}.kind", f"is {window.kind!r}, it must be one of {', '.join(get_args(NoiseKind))}")
    highest = LIMITS.cps_noise_level if window.kind == "cps" else LIMITS.sde_noise_level
    yield from fields.number(f"{field}.level", window.level, LIMITS.smallest_noise_level, highest)
    if window.first < 0:
        yield FieldViolation(f"{field}.first", f"is {window.first}, it must not be negative")
    if window.length < 0:
        yield FieldViolation(f"{field}.length", f"is {window.length}, it must not be negative")
    if 1 <= steps <= window.first + window.length:
        last = window.first + window.length - 1
        yield FieldViolation(
            field, f"ends with step {last}, but the last of {steps} steps, {steps - 1}, is never noisy"
        )
