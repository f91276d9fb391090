"""What a judge is asked on benchmarks besides its own assessment, and what a language model is asked about its answers.

Our own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emofeedback.domain.assessment import Conversation, Message

MARKS = ("completeness", "precision", "relevance", "conciseness")
"""What an answer in prose is marked by, beside the overall mark."""
OVERALL = "overall"
NO_OPTION = "none"
"""What a language model says of an answer that chooses no option."""

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


def candidates_question(image: bytes, candidates: Sequence[str]) -> Conversation:
    """Asks for one word and how sure it is; `replies.named_candidate` and `stated_confidence` read the reply."""
    text = (
        f"{_ROLE} Which of these does the picture make people feel most: {', '.join(candidates)}? Write the one word "
        "in <answer></answer>, and how sure you are, from 0 to 1, in <confidence></confidence>, such as: "
        f"<answer>{candidates[0]}</answer><confidence>0.6</confidence>"
    )
    return (Message(role="user", parts=(image, text)),)


def dominance_question(image: bytes) -> Conversation:
    """Asks for the axis that an assessment doesn't have; `judge.numbers.stated_number` reads the reply."""
    text = (
        f"{_ROLE} How much in control does the picture make people feel, from 1 (helpless) to 9 (powerful)? "
        "Reply with one number, such as: 4.5"
    )
    return (Message(role="user", parts=(image, text)),)


def open_question(images: Sequence[bytes], question: str, emotions: Sequence[str]) -> Conversation:
    """Asks for prose about one picture or two, which `adjudication` marks."""
    text = (
        f"{_ROLE} {question} The emotions to think of are {', '.join(emotions)}. "
        "Answer in a few sentences: what is felt, and what in the picture makes it so."
    )
    return (Message(role="user", parts=(*images, text)),)


def adjudication_question(question: str, truth: str, response: str) -> Conversation:
    """Asks for a round of marks; `adjudication.stated_marks` reads the reply."""
    text = (
        "Mark an answer to a question about what pictures make people feel, by a reference that is right.\n\n"
        f"Question: {question}\n\nReference: {truth}\n\nAnswer: {response}\n\n"
        "Give five marks, each 0 (not at all), 1 (in part) or 2 (fully or almost):\n"
        "- completeness: the answer says what the reference says;\n"
        "- precision: what the answer says agrees with the reference;\n"
        "- relevance: it answers the question, and all of it belongs there;\n"
        "- conciseness: it says so without padding or repetition;\n"
        f"- {OVERALL}: how well the answer meets the reference in completeness, precision and relevance together.\n"
        "Emotions that only one of the two names don't count by themselves. What is no answer has 0 in everything.\n"
        'Reply with JSON alone, such as: {"completeness": 1, "precision": 2, "relevance": 2, "conciseness": 1, '
        f'"{OVERALL}": 1}}'
    )
    return (Message(role="user", parts=(text,)),)


def matching_question(question: str, options: Mapping[str, str], response: str) -> Conversation:
    """Asks which option an answer in prose means; the right one is not told. `matching` reads the reply."""
    listed = "\n".join(f"{letter}: {text}" for letter, text in options.items())
    asked = f"Question: {question}\n\n" if question else ""
    text = (
        f"Somebody answered a question that has these options:\n\n{asked}{listed}\n\nThe answer: {response}\n\n"
        f"Which option does the answer choose? Reply with its letter alone, or with {NO_OPTION!r} where it chooses "
        "none of them. Don't judge whether the answer is right."
    )
    return (Message(role="user", parts=(text,)),)
