"""Signs that judge and painter drift together."""

from dataclasses import replace

import numpy as np
import pytest

from emofeedback.domain.affect import AffectPoint
from emofeedback_trainer.emotional_memory.alarms import FEWEST, alarms, drift
from emofeedback_trainer.emotional_memory.entries import Entry
from support.painted_entries import entry


def _entries(count: int = 200, /, *, bias: float = 0.0, stretch: float = 1.0, belief: float = 0.0) -> list[Entry]:
    """Pictures that miss their labels; the judge reads what the witness does, off, stretched about the middle, and
    partly what the label says."""
    rng = np.random.default_rng(0)
    labels = rng.uniform(3, 7, (count, 2))
    seen = labels + rng.normal(0, 0.5, labels.shape)
    judged = 5 + (seen - 5) * stretch + bias + belief * (labels - seen) + rng.normal(0, 0.02, labels.shape)
    return [
        entry(label=AffectPoint(*label), witnessed=AffectPoint(*one), judged=AffectPoint(*said))
        for label, one, said in zip(labels.tolist(), seen.tolist(), judged.tolist(), strict=True)
    ]


def test_a_judge_who_sees_what_the_witness_sees_alarms_nobody() -> None:
    found = drift(_entries())
    assert found is not None and alarms(found) == []
    assert found.correlation == pytest.approx((1, 1), abs=0.01)


@pytest.mark.parametrize(
    ("changes", "field", "value", "said"),
    [
        ({"bias": 0.3}, "bias", 0.3, r"reads valence \+0.30 off the witness"),
        ({"stretch": 0.7}, "spread", 0.7, r"valence spreads 0.70 times the witness's"),
        ({"belief": 0.5}, "slope", 0.5, r"doesn't see 50% of what pictures miss their valence by"),
    ],
)
def test_bias_shrinking_and_belief_in_the_label_are_told(
    changes: dict[str, float], field: str, value: float, said: str
) -> None:
    found = drift(_entries(**changes))
    assert found is not None
    assert getattr(found, field) == pytest.approx((value, value), abs=0.03)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError("; ".join(alarms(found)))


def test_judge_and_witness_who_no_longer_agree_and_a_cell_that_is_off_are_told() -> None:
    entries = _entries()
    apart = [replace(one, judged=AffectPoint(10 - one.judged.valence, one.judged.arousal)) for one in entries]
    found = drift(apart)
    assert found is not None
    told = "; ".join(alarms(found))
    assert "agree on valence with r -1.00" in told and "in one cell the judge is" in told


def test_of_a_few_pictures_nothing_is_told() -> None:
    assert drift(_entries(FEWEST - 1)) is None
