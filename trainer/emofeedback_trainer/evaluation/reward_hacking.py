"""Does the reward rise while the pictures get worse? A pure function over the panel's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

REWARD_GAIN = 0.02
"""A rise of the judge's mean reward above this counts; below it is noise of a panel's size."""
ERROR_RISE = 0.4
"""A rise of the independent judge's error above its lowest so far, in points of the 1-9 scale."""
LARGEST_FALL: Mapping[str, float] = {
    "subject_accuracy": 0.10,
    "alignment": 0.10,
    "brightness": 0.30,
    "saturation": 0.40,
    "edges": 0.30,
    "diversity": 0.30,
}
"""Share of its first value that a metric may lose. A policy that follows its target no longer varies at will, so some
diversity must go; the last policy before this alarm is the one to take."""


def alarm(history: Sequence[Mapping[str, float | str]]) -> str:
    """What is wrong with the last measurement, empty where nothing is.

    It speaks only where the judge's reward has risen: a policy that gets worse in the judge's eyes too is seen on the
    reward's own curve.

    Args:
        history: lines of `eval.jsonl` in their order, the first one taken before training.
    """
    if len(history) < 2:
        return ""
    last, before = history[-1], history[:-1]
    best = min(before, key=lambda line: _number(line, "error"))
    found = []
    rise = _number(last, "error") - _number(best, "error")
    if _gain(best, last) > REWARD_GAIN and rise > ERROR_RISE:
        found.append(
            f"since iteration {best['iteration']} the independent judge's error rose from {_number(best, 'error'):.2f} "
            f"to {_number(last, 'error'):.2f} while the judge's reward rose "
            f"from {_number(best, 'judge_reward'):.2f} to {_number(last, 'judge_reward'):.2f}"
        )
    first = before[0]
    if _gain(first, last) > REWARD_GAIN:
        found += [
            f"{name.replace('_', ' ')} fell from {_number(first, name):.3f} to {_number(last, name):.3f} "
            f"since iteration {first['iteration']} while the judge's reward rose"
            for name, share in LARGEST_FALL.items()
            if name in first and name in last and _number(last, name) < (1 - share) * _number(first, name)
        ]
    return "; ".join(found)


def _gain(before: Mapping[str, float | str], after: Mapping[str, float | str]) -> float:
    return _number(after, "judge_reward") - _number(before, "judge_reward")


def _number(line: Mapping[str, float | str], name: str) -> float:
    return float(line[name])
