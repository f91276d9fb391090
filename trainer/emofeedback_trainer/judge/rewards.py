"""EmoFeedback^2's rewards of a judge's reply (section 3.1). Pure functions of a text and the truth; all in [0, 1].

Replies are read leniently in form (white space, code fences, order of keys), since rewards that insist on a form to the
letter leave a young model without any signal, and strictly in content (`emofeedback.judge.parsing`).
"""

from __future__ import annotations

import re
from typing import Literal

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Assessment
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.parsing import parse_reasoning
from emofeedback_trainer.core.rewards import continuous_reward, step_reward
from emofeedback_trainer.judge.eemo_rewards import hybrid_reward

Form = Literal["step", "continuous", "hybrid"]
"""Of the reward of a number: the paper's step, the continuous variant of its ablation, or EEmo-Logic's hybrid."""

Axis = Literal["valence", "arousal"]

_THINK_THEN_ANSWER = re.compile(
    r"\s*<think>(?:(?!</?think>|</?answer>).)*</think>\s*<answer>(?P<answer>(?:(?!</?think>|</?answer>).)*)</answer>\s*",
    re.IGNORECASE | re.DOTALL,
)


def written_assessment(reply: str) -> Assessment | None:
    """Valence, arousal and emotion as a reply writes them; None where one of them is missing or off its scale."""
    outcome = parse_reasoning(Completion(reply, (), finished=True))
    return outcome if isinstance(outcome, Assessment) else None


def written_answer(reply: str) -> str | None:
    """What stands in a reply's answer, where the reply is one thought and then one answer, each in its tags, and
    nothing else; None where it isn't."""
    match = _THINK_THEN_ANSWER.fullmatch(reply)
    return match["answer"].strip() if match else None


def format_reward(reply: str) -> float:
    """1 for thoughts and then an answer that says something, each in its tags."""
    return float(bool(written_answer(reply)))


def axis_reward(
    assessment: Assessment | None, axis: Axis, truth: float | None, form: Form, threshold: float
) -> float | None:
    """How near the written valence or arousal is. Each axis is rewarded on its own, since hardly any reply of a
    beginner has both right at once. 0 for an unreadable reply, None where the truth isn't known.

    Args:
        truth: on the 1-9 scale.
        threshold: largest error that the step rewards, in points of the scale.
    """
    if truth is None:
        return None
    if assessment is None:
        return 0.0
    # Rounded, since 6.7 is a little more than 0.7 from 6.0 in binary.
    return number_reward(round(getattr(assessment, axis) - truth, 9), form, threshold)


def number_reward(error: float, form: Form, threshold: float) -> float:
    """The reward of one number on the 1-9 scale, by its error in points of the scale."""
    match form:
        case "step":
            return step_reward(error, threshold)
        case "continuous":
            return continuous_reward(error)
        case "hybrid":
            return hybrid_reward(error)


def emotion_reward(assessment: Assessment | None, emotion: Emotion | None) -> float | None:
    """1 for the right one of eight, None where the truth isn't known."""
    if emotion is None:
        return None
    return float(assessment is not None and assessment.emotion is emotion)
