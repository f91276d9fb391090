"""The agent: steps 2 and 3 of the loop, gradient and update (EmoFeedback^2, section 3.3), asked of the judge.

Step 1, the loss, is arithmetic and lives in `loss.py`; the texts of these two live in `prompts.py`, their parsers in
`parsing.py`.
Replies are sampled greedily first. A reply that can't be used is asked for again, each time with another seed and a
little warmer, a bounded number of times; whatever was not used is kept with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emofeedback.domain.affect import AffectPoint, clip_to_scale
from emofeedback.domain.assessment import Assessment, Conversation, Decoding, Judge
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import Gradient, GradientRequest, Proposal, Rejection, Rewrite, UpdateRequest
from emofeedback.domain.text import estimated_tokens, shorten
from emofeedback.observability.metrics import PARSE_FAILURES, REPLIES
from emofeedback.optimizer.faithfulness import faithful_analysis, lost_negations, objection
from emofeedback.optimizer.parsing import UnreadableReply, parse_gradient, parse_update
from emofeedback.optimizer.prompts import gradient_conversation, update_conversation
from emofeedback.profiles.profile import OptimizerSettings
from emofeedback.storage.vocabulary import Vocabulary

_GRADIENT_ATTEMPTS = 2
_WARMING = 0.4
"""Temperature that each further attempt adds: near the model's first choice before far from it."""
_VARIANT_TEMPERATURE = 0.7
_RADIUS = 1.0
"""How far from the target the further rewrites of a round aim at most, in points of the 1-9 scale: about as far as a
good one misses."""
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


@dataclass(frozen=True, kw_only=True)
class RoundUpdate:
    """What the rewrites of one round came to: what the next one generates from."""

    prompt: str = ""
    rejected: tuple[Rejection, ...] = ()
    """Replies and rewrites that were not used as they were, of both steps."""
    fell_back: bool = False
    """True where none was usable and the prompt stays."""
    further: tuple[Proposal, ...] = ()
    """The usable rewrites beside the first."""


async def estimate_gradient(
    request: GradientRequest, *, judge: Judge, settings: OptimizerSettings, variant: int = 0
) -> Gradient:
    """Step 2: the judge compares the best image with the worst, against the target.

    Its analysis is held against the numbers and, where the assessments come with reasonings, against what was seen
    (`faithful_analysis`); one that nothing is left of is asked for again.

    Variant 0 is the model's first choice; the others are sampled, so that several analyses say several things.
    """
    conversation = gradient_conversation(
        request.prompt, request.target, request.best_image, request.best, request.worst_image, request.worst
    )
    analysis, rejected = "", list[Rejection]()
    for attempt in range(_GRADIENT_ATTEMPTS):
        reply = await _reply(conversation, attempt, settings.max_analysis_tokens, judge, variant=variant)
        try:
            analysis = _read("analysis", lambda reply: _faithful(parse_gradient(reply), request), reply)
            break
        except UnreadableReply as error:
            rejected.append(Rejection(prompt=reply, reason=str(error)))
    return Gradient(analysis=analysis, rejected=tuple(rejected), model=await judge.model())


def _faithful(analysis: str, request: GradientRequest) -> str:
    reasonings = request.best.reasoning, request.worst.reasoning
    seen = (request.prompt, *reasonings) if any(reasonings) else ()
    faithful = faithful_analysis(
        analysis, target=request.target, best=request.best.point, worst=request.worst.point, seen=seen
    )
    if not faithful:
        raise UnreadableReply(f"the numbers and the pictures bear out nothing of it: {analysis!r}")
    return faithful


async def reasons_of(images: Sequence[bytes], *, user: str, judge: Judge) -> list[str]:
    """The judge's reasoning on each image, seen for a person where `user` names one; empty where it gave none."""
    outcomes = await judge.assess(images, reasoning=True, user=user)
    return [outcome.reasoning if isinstance(outcome, Assessment) else "" for outcome in outcomes]


async def update_prompt(
    request: UpdateRequest, *, judge: Judge, settings: OptimizerSettings, earlier: Sequence[str] = ()
) -> Rewrite:
    """Step 3: the prompt, rewritten by the analysis.

    A rewrite is refused where it holds no prompt, says what the prompt or one of the `earlier` ones said, has words
    that can't be trusted (`faithfulness.objection`) or has lost the subject of the original. What the original
    excludes is written behind it where it is missing. One that is too long is shortened, and the long form listed
    among the rejected. After `rewrite_attempts` refusals, or where there is no analysis to go by, the prompt stays.
    """
    conversation = update_conversation(request.original_prompt, request.prompt, request.analysis, request.target)
    rejected: list[Rejection] = []
    for attempt in range(settings.rewrite_attempts if request.analysis else 0):
        reply = await _reply(conversation, attempt, settings.max_rewrite_tokens, judge)
        try:
            rewrite = _read("rewrite", parse_update, reply)
        except UnreadableReply as error:
            rejected.append(Rejection(prompt=reply, reason=str(error)))
            continue
        fitting = _fitting(rewrite, request.original_prompt, settings.max_prompt_tokens)
        if not fitting.startswith(rewrite):
            rejected.append(Rejection(prompt=rewrite, reason=_too_long(rewrite, settings)))
        objection = await _objection(fitting, request.original_prompt, [*earlier, request.prompt], judge, settings)
        if objection is None:
            return Rewrite(prompt=fitting, rejected=tuple(rejected), model=await judge.model())
        rejected.append(Rejection(prompt=fitting, reason=objection))
    return Rewrite(prompt=request.prompt, rejected=tuple(rejected), fell_back=True, model=await judge.model())


def aims_around(target: AffectPoint, rewrites: int) -> list[AffectPoint]:
    """What each rewrite of a round aims at: the target itself, then points evenly over a disc around it (Vogel's
    spiral), kept on the scale.

    A generator paints nearly the same feeling from one prompt whatever the seed, and no agent knows to a point what
    its words will do: so a round has nothing to choose from unless its rewrites differ.
    """
    turns = [(_RADIUS * math.sqrt(i / (rewrites - 1)), _GOLDEN_ANGLE * i) for i in range(1, rewrites)]
    around = [(target.valence + r * math.cos(turn), target.arousal + r * math.sin(turn)) for r, turn in turns]
    return [target, *(AffectPoint(clip_to_scale(valence), clip_to_scale(arousal)) for valence, arousal in around)]


def joined(gradients: Sequence[Gradient], rewrites: Sequence[Rewrite]) -> RoundUpdate:
    """The usable ones of a round's rewrites, each once; the prompt stays where none is.

    Args:
        gradients: one for each rewrite, or none where nothing could be compared.
    """
    steps: list[Gradient | Rewrite] = [*gradients, *rewrites]
    rejected = tuple(rejection for step in steps for rejection in step.rejected)
    proposals: dict[str, Proposal] = {}
    for gradient, rewrite in zip(gradients, rewrites, strict=False):
        if not rewrite.fell_back:
            proposal = Proposal(prompt=rewrite.prompt, analysis=gradient.analysis)
            proposals.setdefault(rewrite.prompt.casefold(), proposal)
    if not proposals:
        return RoundUpdate(prompt=rewrites[0].prompt, rejected=rejected, fell_back=True)
    first, *further = proposals.values()
    return RoundUpdate(prompt=first.prompt, rejected=rejected, further=tuple(further))


async def _reply(
    conversation: Conversation, attempt: int, max_new_tokens: int, judge: Judge, *, variant: int = 0
) -> str:
    temperature = _WARMING * attempt + (_VARIANT_TEMPERATURE if variant else 0.0)
    seed = attempt + LIMITS.images_per_call * variant
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
    [reply] = await judge.converse([conversation], decoding)
    return reply


def _read(kind: str, parse: Callable[[str], str], reply: str) -> str:
    """What `parse` reads from a reply of a class, counted."""
    REPLIES.record(1, kind=kind)
    try:
        return parse(reply)
    except UnreadableReply:
        PARSE_FAILURES.record(1, kind=kind)
        raise


async def _objection(
    rewrite: str, original_prompt: str, earlier: Sequence[str], judge: Judge, settings: OptimizerSettings
) -> str | None:
    """Why the rewrite must not be used; None where it may."""
    if rewrite.casefold() in (prompt.casefold() for prompt in earlier):
        return "was painted already"
    if words := objection(rewrite, original_prompt, Vocabulary.read(settings.vocabulary)):
        return words
    [similarity] = await judge.compare_texts(original_prompt, [rewrite])
    if similarity < settings.text_floor:
        floor = settings.text_floor
        return f"has lost the subject: similarity {similarity:.2f} with the original, at least {floor:g} is asked"
    return None


def _fitting(rewrite: str, original_prompt: str, limit: int) -> str:
    """As much of a rewrite as the generator reads, behind it what it lost of the original's negations."""
    negated = lost_negations(rewrite, original_prompt)
    whole = shorten(rewrite, lambda text: estimated_tokens(text + negated) <= limit) + negated
    # What was cut may have held a negation itself, so the whole is asked again.
    return whole + lost_negations(whole, original_prompt)


def _too_long(rewrite: str, settings: OptimizerSettings) -> str:
    tokens, limit = estimated_tokens(rewrite), settings.max_prompt_tokens
    return f"about {tokens} tokens, the generator reads {limit}: shortened"
