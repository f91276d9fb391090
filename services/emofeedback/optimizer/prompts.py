"""The agent's words: the textual gradient and the update (EmoFeedback^2, section 3.3), as pure functions.

`gradient_conversation` shows the model its best and its worst picture and asks what to change;
`update_conversation` asks for the prompt rewritten accordingly. Each has a parser that repairs what models
commonly get wrong in form. The embedded model has learned these sentences verbatim, as it has the judge's.
"""

from __future__ import annotations

from emofeedback.domain.affect import AffectPoint, describe
from emofeedback.domain.assessment import Assessment, Conversation, Message
from emofeedback.domain.text import one_line

PROMPT_WORDS = 40
"""What a rewritten prompt is asked to stay under: about 55 of the 77 tokens of a CLIP text encoder."""


def gradient_conversation(
    prompt: str,
    target: AffectPoint,
    best_image: bytes,
    best: Assessment,
    worst_image: bytes,
    worst: Assessment,
) -> Conversation:
    """Asks what makes the best image come nearer to the target than the worst, and what to change next."""
    text = (
        f"Both pictures were painted from this prompt: {one_line(prompt)}\n"
        f"The target is {_target(target)}.\n"
        f"The first picture, the best so far, has {_judged(best)}.\n"
        f"The second picture, the worst, has {_judged(worst)}.\n"
        "What in each picture makes people feel so? What should be added and what taken out "
        "to come nearer to the target? Answer in three short sentences."
    )
    return (Message(role="user", parts=(best_image, worst_image, text)),)


def update_conversation(original_prompt: str, prompt: str, analysis: str, target: AffectPoint) -> Conversation:
    """Asks for the prompt rewritten toward the target, with the subject and place of the original."""
    text = (
        f"Original prompt: {one_line(original_prompt)}\n"
        f"Current prompt: {one_line(prompt)}\n"
        f"Analysis: {one_line(analysis)}\n"
        f"The target is {_target(target)}.\n"
        "Rewrite the current prompt so that its picture comes nearer to the target. "
        "Keep the subject and the place of the original prompt; change the weather, the light, the mood "
        f"and the things around. Use at most {PROMPT_WORDS} words. "
        "Reply with the new prompt only, inside <prompt></prompt>."
    )
    return (Message(role="user", parts=(text,)),)


def _target(target: AffectPoint) -> str:
    return f"valence {target.valence:.1f}, arousal {target.arousal:.1f} ({describe(target)})"


def _judged(assessment: Assessment) -> str:
    return f"valence {assessment.valence:.1f}, arousal {assessment.arousal:.1f} ({assessment.emotion})"
