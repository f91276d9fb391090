"""Steps 2 and 3 of the loop, gradient and update (EmoFeedback^2, section 3.3): what the agent asks of the judge.

Step 1, the loss, is arithmetic and lives in `loss.py`; the texts and parsers of both steps live in `gradient.py`.
Replies are sampled greedily first. A reply that can't be used is asked for again with another seed and some
temperature, a bounded number of times; whatever was not used is kept with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emofeedback.affect import AffectPoint
from emofeedback.interfaces import Assessment, Conversation, Decoding, Judge
from emofeedback.optimizer.gradient import (
    UnreadableReply,
    gradient_conversation,
    parse_gradient,
    parse_update,
    update_conversation,
)
from emofeedback.optimizer.length import estimated_tokens, shortened
from emofeedback.optimizer.streams import both
from emofeedback.rounds import Rejection
from emofeedback.settings import OptimizerSettings

_GRADIENT_ATTEMPTS = 2
_RETRY_TEMPERATURE = 0.8
"""Warm enough that another seed gives another reply."""


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """What separates the best image from the worst, and what to change."""

    analysis: str = ""
    """Empty where no reply could be read."""
    best_reasoning: str = ""
    """The judge's own words on the image; empty where it found none."""
    worst_reasoning: str = ""
    rejected: tuple[Rejection, ...] = ()
    """Replies that could not be read."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """The next prompt."""

    prompt: str = ""
    rejected: tuple[Rejection, ...] = ()
    """Rewrites that were not used as they were."""
    fell_back: bool = False
    """True where none was usable and the prompt stays."""


async def estimate_gradient(
    *,
    prompt: str,
    target: AffectPoint,
    best_image: bytes,
    best: Assessment,
    worst_image: bytes,
    worst: Assessment,
    judge: Judge,
    settings: OptimizerSettings,
) -> Gradient:
    """Step 2: the judge compares the two images against the target, and reasons aloud about each meanwhile."""
    conversation = gradient_conversation(prompt, target, best_image, best, worst_image, worst)
    (analysis, rejected), reasonings = await both(
        _analysis(conversation, judge, settings), _reasonings([best_image, worst_image], judge)
    )
    best_reasoning, worst_reasoning = reasonings
    return Gradient(
        analysis=analysis,
        best_reasoning=best_reasoning,
        worst_reasoning=worst_reasoning,
        rejected=rejected,
    )


async def update_prompt(
    *,
    original_prompt: str,
    painted: Sequence[str],
    analysis: str,
    target: AffectPoint,
    judge: Judge,
    settings: OptimizerSettings,
) -> Update:
    """Step 3: the last of the `painted` prompts, rewritten by the analysis.

    A rewrite is refused where it holds no prompt, was painted before, or has lost the subject of the original.
    One that is too long is shortened, and the long form listed among the rejected. After `rewrite_attempts`
    refusals, or where there is no analysis to go by, the prompt stays.
    """
    conversation = update_conversation(original_prompt, painted[-1], analysis, target)
    rejected: list[Rejection] = []
    for attempt in range(settings.rewrite_attempts if analysis else 0):
        reply = await _reply(conversation, attempt, settings.max_rewrite_tokens, judge)
        try:
            rewrite = parse_update(reply)
        except UnreadableReply as error:
            rejected.append(Rejection(prompt=reply, reason=str(error)))
            continue
        fitting = shortened(rewrite, settings.max_prompt_tokens)
        if fitting != rewrite:
            rejected.append(Rejection(prompt=rewrite, reason=_too_long(rewrite, settings)))
        objection = await _objection(fitting, original_prompt, painted, judge, settings)
        if objection is None:
            return Update(prompt=fitting, rejected=tuple(rejected), fell_back=False)
        rejected.append(Rejection(prompt=fitting, reason=objection))
    return Update(prompt=painted[-1], rejected=tuple(rejected), fell_back=True)


async def _analysis(
    conversation: Conversation, judge: Judge, settings: OptimizerSettings
) -> tuple[str, tuple[Rejection, ...]]:
    """The first readable analysis, or an empty one, and the replies before it."""
    rejected: list[Rejection] = []
    for attempt in range(_GRADIENT_ATTEMPTS):
        reply = await _reply(conversation, attempt, settings.max_analysis_tokens, judge)
        try:
            return parse_gradient(reply), tuple(rejected)
        except UnreadableReply as error:
            rejected.append(Rejection(prompt=reply, reason=str(error)))
    return "", tuple(rejected)


async def _reasonings(images: Sequence[bytes], judge: Judge) -> list[str]:
    outcomes = await judge.assess(images, reasoning=True)
    return [outcome.reasoning if isinstance(outcome, Assessment) else "" for outcome in outcomes]


async def _reply(conversation: Conversation, attempt: int, max_new_tokens: int, judge: Judge) -> str:
    temperature = _RETRY_TEMPERATURE if attempt else 0.0
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature, seed=attempt)
    [reply] = await judge.converse([conversation], decoding)
    return reply


async def _objection(
    rewrite: str, original_prompt: str, painted: Sequence[str], judge: Judge, settings: OptimizerSettings
) -> str | None:
    """Why the rewrite must not be painted; None where it may."""
    if rewrite.casefold() in (prompt.casefold() for prompt in painted):
        return "was painted already"
    [similarity] = await judge.compare_texts(original_prompt, [rewrite])
    if similarity < settings.text_floor:
        floor = settings.text_floor
        return f"has lost the subject: similarity {similarity:.2f} with the original, at least {floor:g} is asked"
    return None


def _too_long(rewrite: str, settings: OptimizerSettings) -> str:
    tokens, limit = estimated_tokens(rewrite), settings.max_prompt_tokens
    return f"about {tokens} tokens, the generator reads {limit}: shortened"
