"""The table of a fused policy."""

import numpy as np
import pytest

from emofeedback_trainer.fusion import evaluation
from emofeedback_trainer.fusion.evaluation import Painted


def painted(error: float, diversity: float = 0.2) -> Painted:
    spread = np.linspace(-0.5, 0.5, 12)[:, None]
    return Painted(
        errors=error + spread.repeat(4, axis=1), subjects=np.ones((12, 4)), diversities=np.full(12, diversity)
    )


def test_ways_are_compared_pair_by_pair() -> None:
    ways = {
        evaluation.BASE: painted(4.0),
        evaluation.IMAGINED: painted(1.0, diversity=0.18),
        evaluation.NUMBERS: painted(1.25),
    }
    base, fused, numbers = evaluation.compare(ways)
    assert base.below_base is None and fused.above_fused is None
    assert fused.below_base is not None and fused.below_base.value == pytest.approx(0.75)
    assert fused.diversity is not None and fused.diversity.value == pytest.approx(0.9)
    assert numbers.above_fused is not None and numbers.above_fused.value == pytest.approx(0.2)
    # Drawn together, the pairs' spread doesn't blur the comparison.
    assert numbers.above_fused.high - numbers.above_fused.low < numbers.error.high - numbers.error.low
    assert "| fused, imagined | 1.000 [" in evaluation.markdown([base, fused, numbers])


def test_without_a_base_nothing_is_shared_with_it() -> None:
    [row] = evaluation.compare({evaluation.IMAGINED: painted(1.0)})
    assert row.below_base is None and row.diversity is None and row.error.value == pytest.approx(1.0)
