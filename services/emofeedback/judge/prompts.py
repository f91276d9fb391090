"""Everything the judge is asked, in one place.

Two questions for a rating of one picture: the short rating, whose reply is a few tokens that are scored by their
probabilities (as EEmo-Logic does, here on the nine steps of the scale), and the reasoned assessment in the
think-and-answer format of EmoFeedback^2 (section 3.1). The embedded model has learned these sentences verbatim:
a change of a word here asks for its retraining.

Beside them anybody's own question about one or two pictures, with options or without, and the description of what they
make people feel (EEmo-Logic's perception and description).

A judge that has learned reasoning tokens (after EmoSym, ACM MM 2025) has two more: *look*, the short rating with these
tokens behind the question, and *imagine*, a picture that isn't there yet. What it has in mind stands in the states at
the tokens' places, which come last in the user's turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion
from emofeedback.domain.assessment import ControlTokens, Conversation, Message
from emofeedback.domain.reasoning import Imagination

RATING_MAX_NEW_TOKENS = 16
"""Enough for `7 3 contentment 5` in any tokenizer."""

_EMOTION_PATTERN = f"({'|'.join(Emotion)})"
_NUMBER_PATTERN = r"[1-9](\.[0-9]{1,2})?"
_THOUGHTS_PATTERN = r"<think>[^<]*</think>\n?"
RATING_PATTERN = rf"[1-9] [1-9] {_EMOTION_PATTERN}( [1-9])?"
"""The short reply; a judge that hasn't learned dominance may leave it away."""
REASONING_PATTERN = (
    rf'{_THOUGHTS_PATTERN}<answer>\{{"valence": {_NUMBER_PATTERN}, "arousal": {_NUMBER_PATTERN}, '
    rf'"emotion": "{_EMOTION_PATTERN}"(, "dominance": {_NUMBER_PATTERN})?\}}</answer>'
)
"""The reasoned reply."""

_SCALE = (
    f"Valence runs from {SCALE_MIN:g} (unpleasant) to {SCALE_MAX:g} (pleasant), "
    f"arousal from {SCALE_MIN:g} (calm) to {SCALE_MAX:g} (stirred). "
    f"The emotion is one of {', '.join(Emotion)}."
)
_DOMINANCE = f"Dominance runs from {SCALE_MIN:g} (helpless) to {SCALE_MAX:g} (in control)."
_RATING = (
    f"What does this picture make people feel? {_SCALE} {_DOMINANCE} "
    "Reply with whole numbers and one word, valence, arousal, emotion, dominance, such as: 7 3 awe 5"
)
_REASONING = (
    f"What does this picture make people feel, and why? {_SCALE} {_DOMINANCE} "
    "First think inside <think></think> about what the picture shows, "
    "then answer inside <answer></answer> with JSON such as: "
    '<answer>{"valence": 6.4, "arousal": 3.1, "emotion": "awe", "dominance": 4.8}</answer>'
)
_OPTION = (
    "First think inside <think></think> about what is to be seen, "
    "then answer inside <answer></answer> with one of these options, word for word."
)
_SENTENCE = "Reply in one sentence."
_DESCRIPTION = "Describe what this picture makes people feel, and why."
_DESCRIPTION_OF_TWO = (
    "Describe what each of these two pictures makes people feel, and why, and how the second differs from the first."
)


def rating_conversation(image: bytes) -> Conversation:
    """Asks for the short reply, `<V> <A> <emotion> <D>`; `parsing.parse_rating` reads it."""
    return (Message(role="user", parts=(image, _RATING)),)


def reasoning_conversation(image: bytes) -> Conversation:
    """Asks the judge to reason before it rates; `parsing.parse_reasoning` reads the reply."""
    return (Message(role="user", parts=(image, _REASONING)),)


def question_conversation(images: Sequence[bytes], question: str, options: Sequence[str] = ()) -> Conversation:
    """Asks about one or two pictures: the reply is one of the options, behind thoughts, or a sentence where there are
    none.

    Options have no letters: which letter stands for which word is the last thing that a small model learns.
    """
    asked = "\n".join([question, *(f"- {option}" for option in options), _OPTION if options else _SENTENCE])
    return (Message(role="user", parts=(*images, asked)),)


def description_conversation(images: Sequence[bytes]) -> Conversation:
    """Asks what one or two pictures make people feel, and why; the reply is prose."""
    return (Message(role="user", parts=(*images, _DESCRIPTION if len(images) == 1 else _DESCRIPTION_OF_TWO)),)


def reason_token(number: int) -> str:
    """The name of a reasoning token, from 0; a checkpoint has as many as its tokenizer knows."""
    return f"<|reason_{number}|>"


def variation_token(number: int) -> str:
    """The name of the token that asks for one of several imaginations, from 0."""
    return f"<|variation_{number}|>"


def look_conversation(image: bytes, reasons: int) -> Conversation:
    """The short rating behind `reasons` reasoning tokens; its reply is that of `rating_conversation`."""
    return (Message(role="user", parts=(image, _RATING, _reasons(reasons))),)


def imagine_conversation(imagination: Imagination, reasons: int, variation: int) -> Conversation:
    """What the model would paint; the reply is the short rating of that picture."""
    target = imagination.target
    asked = (
        f"Imagine a picture of: {imagination.prompt}\n"
        f"It makes people feel valence {target.valence:.1f}, arousal {target.arousal:.1f}. {_SCALE} "
        "Reply with two whole numbers and one word, valence, arousal, emotion, such as: 7 3 awe"
    )
    return (Message(role="user", parts=(asked, ControlTokens((variation_token(variation),)), _reasons(reasons))),)


def _reasons(count: int) -> ControlTokens:
    return ControlTokens(tuple(map(reason_token, range(count))))
