"""What a judge is asked on EEmo-Bench and other ranked data, besides its own assessment. Our own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emofeedback.domain.assessment import Conversation, Message

_ROLE = "You are an expert in the psychology of emotion."


def ranking_question(image: bytes, emotions: Sequence[str]) -> Conversation:
    """Asks for three emotions in order; `replies.named_emotions` reads the reply."""
    text = (
        f"{_ROLE} Which three of these emotions does the picture evoke most: {', '.join(emotions)}? "
        "Rank them from the strongest to the weakest, in brackets, such as: [joy, surprise, neutral]"
    )
    return (Message(role="user", parts=(image, text)),)


def closed_question(images: Sequence[bytes], question: str, options: Mapping[str, str]) -> Conversation:
    """Asks for one option, about one picture or two; `replies.chosen_option` reads the reply."""
    listed = " ".join(f"{letter}: {text}" for letter, text in options.items())
    text = f"{_ROLE} {question} Choose one of these options and begin your reply with its letter. {listed}"
    return (Message(role="user", parts=(*images, text)),)


def dominance_question(image: bytes) -> Conversation:
    """Asks for the axis that an assessment doesn't have; `judge.numbers.stated_number` reads the reply."""
    text = (
        f"{_ROLE} How much in control does the picture make people feel, from 1 (helpless) to 9 (powerful)? "
        "Reply with one number, such as: 4.5"
    )
    return (Message(role="user", parts=(image, text)),)
