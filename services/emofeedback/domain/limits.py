"""What one call may ask for, and the names that every part of the system agrees on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may ask for; over it is INVALID_ARGUMENT (or RESOURCE_EXHAUSTED for the queue and messages)."""

    prompt_characters: int = 2000
    images_per_call: int = 64
    """Also the most images a round of the loop may have."""
    rounds: int = 20
    rejections: int = 1000
    """Rejected replies in one round of a run that is resumed."""
    steps: int = 200
    guidance: float = 50.0
    smallest_noise_level: float = 0.001
    """The least of a trajectory's window: below it, rounding in float32 blurs how likely a step was."""
    sde_noise_level: float = 2.0
    cps_noise_level: float = 1.0
    """All of the noise is fresh."""
    seed: int = 2**63 - 1
    image_pixels: int = 40_000_000
    """Refused from the header alone, before anything is decoded."""
    image_scan_pixels: int = 500_000_000
    """Pixels of a JPEG times its scans, which are 10 in what libjpeg writes: the decoder's work, however few its bytes.
    Told from its structure alone."""
    image_aspect: float = 100.0
    """Longer side by shorter side; Qwen2.5-VL's own limit is 200, scaling down rounds the shorter side."""
    conversations_per_call: int = 64
    conversation_messages: int = 32
    message_parts: int = 32
    text_characters: int = 20_000
    """An analysis, one text of a conversation, or the configuration of a training run."""
    name_characters: int = 200
    """A policy's name, a person's or a request's id."""
    questions_per_call: int = 64
    """Also descriptions."""
    question_images: int = 2
    """Pictures that one question or description may be about."""
    question_characters: int = 2000
    option_characters: int = 200
    fewest_options: int = 2
    """Of a question that has any."""
    most_options: int = 10
    new_tokens: int = 2048
    temperature: float = 2.0
    time_budget_seconds: float = 86_400.0
    message_bytes: int = 64 * 1024 * 1024
    emotion_variations: int = 8
    """Imaginations of one feeling in a call."""
    emotion_tokens: int = 64
    emotion_width: int = 8192
    emotion_scale: float = 2.0
    queued_images: int = 512
    """Images that wait in one generator replica."""
    run_name_characters: int = 64
    runs_per_list: int = 1000
    """Training runs in one reply."""


LIMITS = Limits()


BASE_POLICY = "base"
"""What a request names to paint with the base weights, whatever policy the profile paints with by default."""


TOKEN_VARIABLE = "EMOFEEDBACK_TOKEN"
"""Environment variable that holds the bearer token, for the services and for the command."""
