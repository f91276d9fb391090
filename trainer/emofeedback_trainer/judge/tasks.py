"""What a judge in training is asked about a picture, and what it should reply. One task per question:

assessment   valence, arousal and one of eight emotions, asked exactly as the judge service asks (EmoFeedback^2)
ranking      the three emotions felt most, in order (EEmo-Logic)
vad          valence, arousal and dominance, asked as the assessment is and rewarded together (EEmo-Logic)
dominance    the third axis alone, for pictures of which nothing else is rated
emotion      one of Ekman's six or neutral, near misses rewarded (EEmo-Logic)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Conversation, Message
from emofeedback.domain.taxonomies import EKMAN
from emofeedback.judge.prompts import reasoning_conversation
from emofeedback_trainer.data.records import AXES, Sample
from emofeedback_trainer.evaluation.prompts import dominance_question, ranking_question

TaskName = Literal["assessment", "ranking", "vad", "dominance", "emotion"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)

_RANKED = 3
_FORM = " First think inside <think></think>, then answer inside <answer></answer>."


def question(task: TaskName, emotions: Sequence[str]) -> str:
    """What the task asks about a picture that stands before it.

    Args:
        emotions: those that a ranking may name.
    """
    match task:
        case "assessment" | "vad":
            return _text(reasoning_conversation(b""))
        case "ranking":
            return _text(ranking_question(b"", emotions)) + _FORM
        case "dominance":
            return _text(dominance_question(b"")) + _FORM
        case "emotion":
            return f"Which one of these emotions does the picture evoke most: {', '.join(EKMAN)}?{_FORM}"


def answer(task: TaskName, sample: Sample) -> str | None:
    """What the sample's labels answer; None where they don't."""
    match task:
        case "assessment":
            if sample.valence is None or sample.arousal is None or sample.emotion is None:
                return None
            control = "" if sample.dominance is None else f', "dominance": {sample.dominance:.1f}'
            return (
                f'{{"valence": {sample.valence:.1f}, "arousal": {sample.arousal:.1f}, '
                f'"emotion": "{sample.emotion}"{control}}}'
            )
        case "vad":
            return answer("assessment", sample) if _is_rated(sample) else None
        case "ranking":
            ranked = ranked_labels(sample)
            return f"[{', '.join(ranked)}]" if len(ranked) == _RANKED else None
        case "dominance":
            return None if sample.dominance is None else f"{sample.dominance:.1f}"
        case "emotion":
            return sample.label if sample.label in EKMAN else None


def is_known(task: TaskName, sample: Sample) -> bool:
    """Whether the sample's labels can reward a reply; less than `answer` needs, which has to write a whole one."""
    return _is_rated(sample) if task == "vad" else answer(task, sample) is not None


def reply(task: TaskName, sample: Sample) -> str | None:
    """Thoughts and answer of a judge who knows the labels; None where they don't answer."""
    answered = answer(task, sample)
    return None if answered is None else f"<think>{thoughts(sample)}</think><answer>{answered}</answer>"


def thoughts(sample: Sample) -> str:
    """What people said about the picture, else what it shows, in the words that carry its feeling; may be empty."""
    shown = sample.emotional_prompt or sample.neutral_prompt
    return sample.comments[0] if sample.comments else f"It shows {shown.rstrip('.')}." if shown else ""


def ranked_labels(sample: Sample) -> tuple[str, ...]:
    """The emotions that the benchmark's ranking looks at: the first three."""
    return tuple(place.label for place in sample.ranking[:_RANKED])


def taxonomy(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The emotions that the samples' rankings are made of: Mikels' eight where they name one that Ekman doesn't."""
    named = {label for sample in samples for label in ranked_labels(sample)}
    return EKMAN if named <= set(EKMAN) else tuple(Emotion)


def _is_rated(sample: Sample) -> bool:
    return all(getattr(sample, axis) is not None for axis in AXES)


def _text(conversation: Conversation) -> str:
    (message,) = conversation
    return _only_text(message)


def _only_text(message: Message) -> str:
    return " ".join(part for part in message.parts if isinstance(part, str))
