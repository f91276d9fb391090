"""Everything the judge is asked, in one place.

Two questions about one picture: the short rating, whose reply is a few tokens that are scored by their
probabilities (as EEmo-Logic does, here on the nine steps of the scale), and the reasoned assessment in the
think-and-answer format of EmoFeedback^2 (section 3.1). The embedded model has learned these sentences verbatim:
a change of a word here asks for its retraining.
"""

from __future__ import annotations

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion
from emofeedback.domain.assessment import Conversation, Message

RATING_MAX_NEW_TOKENS = 12
"""Enough for `7 3 contentment` in any tokenizer."""

_SCALE = (
    f"Valence runs from {SCALE_MIN:g} (unpleasant) to {SCALE_MAX:g} (pleasant), "
    f"arousal from {SCALE_MIN:g} (calm) to {SCALE_MAX:g} (stirred). "
    f"The emotion is one of {', '.join(Emotion)}."
)
_RATING = (
    f"What does this picture make people feel? {_SCALE} "
    "Reply with two whole numbers and one word, valence, arousal, emotion, such as: 7 3 awe"
)
_REASONING = (
    f"What does this picture make people feel, and why? {_SCALE} "
    "First think inside <think></think> about what the picture shows, "
    "then answer inside <answer></answer> with JSON such as: "
    '<answer>{"valence": 6.4, "arousal": 3.1, "emotion": "awe"}</answer>'
)


def rating_conversation(image: bytes) -> Conversation:
    """Asks for the short reply, `<V> <A> <emotion>`; `parsing.parse_rating` reads it."""
    return (Message(role="user", parts=(image, _RATING)),)


def reasoning_conversation(image: bytes) -> Conversation:
    """Asks the judge to reason before it rates; `parsing.parse_reasoning` reads the reply."""
    return (Message(role="user", parts=(image, _REASONING)),)
