"""What rounds of understanding and painting came to: one table, one picture, one sentence, also where the answer is no.

Pure but for the picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from emofeedback_trainer.core.tables import table
from emofeedback_trainer.emotional_memory.measuring import difference, relative_change
from emofeedback_trainer.emotional_memory.refresh_config import LARGEST_RISE
from emofeedback_trainer.emotional_memory.symbiosis import REAL, SEEN, UNSEEN, ArmResult, Round
from emofeedback_trainer.evaluation.metrics import Estimate

_PAPER, _INK, _SOFT = "#faf8f4", "#22252a", "#6a6e76"


def rounds_table(rounds: Sequence[Round]) -> str:
    """A row for each round and arm: errors in points, and the change against the same steps without the memory."""
    rows = []
    for one in rounds:
        (alone,) = (result for result in one.arms if result.arm == "alone")
        rows += [
            (
                str(one.number),
                result.arm,
                *(f"{np.mean(result.errors[name]):.3f}" for name in (REAL, SEEN, UNSEEN)),
                *(_change(alone, result, name) for name in (REAL, SEEN, UNSEEN)),
                _drift(result),
                f"{np.mean(result.painting.errors):.2f}" if result.painting else "",
                "yes" if result.kept else "no",
            )
            for result in one.arms
        ]
    header = (
        "round",
        "arm",
        f"error: {REAL}",
        SEEN,
        UNSEEN,
        "against alone: real, points",
        "seen",
        "unseen",
        "bias V / A, spread V / A",
        "policy's error",
        "kept",
    )
    before = rounds[0].arms[0].before
    started = ", ".join(f"{np.mean(before[name]):.3f} on {name} (n {len(before[name]):,})" for name in before)
    return f"{table(header, rows)}\n\nThe first judge's error: {started}."


def verdict(rounds: Sequence[Round]) -> str:
    """One sentence about the last round. A gain over the same steps alone is not yet one over the first judge."""
    arms = {result.arm: result for result in rounds[-1].arms}
    memory, alone = arms["memory"], arms["alone"]
    (first,) = (result.before for result in rounds[0].arms if result.arm == "memory")
    real = difference(_array(alone, REAL), _array(memory, REAL))
    seen, unseen = (relative_change(_array(alone, name), _array(memory, name)) for name in (SEEN, UNSEEN))
    since = [relative_change(np.array(first[name]), _array(memory, name)) for name in (SEEN, UNSEEN)]
    against = (
        f"against the same steps without the memory the error on painted pictures changes by {_percent(seen)} "
        f"(a policy learned from) and {_percent(unseen)} (one never seen), on real ones by {_points(real)} points, "
        f"against the first judge by {_percent(since[0])} and {_percent(since[1])}"
    )
    if not (seen.high < 0 and unseen.high < 0 and real.value <= LARGEST_RISE):
        answer = "Painting does not help understanding"
    elif all(change.high < 0 for change in since):
        answer = "Painting helps understanding"
    else:
        answer = "Painting keeps a judge that learns on from getting worse, and makes it no better than it was"
    return f"{answer}: {against}; {_painting_verdict(memory, alone)}."


def _painting_verdict(memory: ArmResult, alone: ArmResult) -> str:
    if memory.painting is None or alone.painting is None:
        return "whether understanding helps painting was not tried"
    change = relative_change(np.array(alone.painting.errors), np.array(memory.painting.errors))
    what = "understanding helps painting" if change.high < 0 else "understanding does not help painting"
    return f"{what}: with the memory's judge instead of the other the policy's error changes by {_percent(change)}"


def draw_rounds(rounds: Sequence[Round]) -> bytes:
    """A PNG: the error of every arm over the rounds, a panel for each kind of picture; round 0 is the first judge."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = (REAL, SEEN, UNSEEN)
    picture = Figure(figsize=(13, 4.2), dpi=110, facecolor=_PAPER, layout="constrained")
    FigureCanvasAgg(picture)
    for axes, name in zip(picture.subplots(1, len(names)), names, strict=True):
        for index, first in enumerate(rounds[0].arms):
            means = [float(np.mean(first.before[name]))]
            means += [float(np.mean(one.arms[index].errors[name])) for one in rounds]
            axes.plot(range(len(means)), means, marker="o", label=first.arm)
        axes.set_title(name, color=_INK, fontsize=11)
        axes.set_xticks(range(len(rounds) + 1))
        axes.set_xlabel("round", color=_SOFT)
        axes.grid(alpha=0.3)
        axes.margins(y=0.2)
    picture.axes[0].set_ylabel("judge's error, points", color=_SOFT)
    picture.axes[0].legend(fontsize="small")
    file = io.BytesIO()
    picture.savefig(file, format="png", facecolor=_PAPER)
    return file.getvalue()


def _array(result: ArmResult, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(result.errors[name], np.float64)


def _change(alone: ArmResult, result: ArmResult, name: str) -> str:
    if result is alone:
        return ""
    if name == REAL:
        return _points(difference(_array(alone, name), _array(result, name)))
    return _percent(relative_change(_array(alone, name), _array(result, name)))


def _drift(result: ArmResult) -> str:
    found = result.drift
    if found is None:
        return ""
    return "{:+.2f} / {:+.2f}, {:.2f} / {:.2f}".format(*found.bias, *found.spread)


def _points(found: Estimate) -> str:
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _percent(found: Estimate) -> str:
    return f"{found.value:+.1%} ({found.low:+.1%} to {found.high:+.1%})"
