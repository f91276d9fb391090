"""The one record: places on one scale are brought to 1-9, and no label lies off it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.data.rows import to_scale


@given(st.floats(0, 1), st.sampled_from([(1, 7), (1, 10), (-3, 3), (0, 6), (1, 9)]))
def test_a_place_on_one_scale_is_the_same_place_on_one_to_nine(share: float, scale: tuple[float, float]) -> None:
    low, high = scale
    assert to_scale(low + share * (high - low), low, high) == pytest.approx(1 + 8 * share)
    assert to_scale(low, low, high) == 1 and to_scale(high, low, high) == 9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": ""}, "id is empty"),
        ({"valence": math.nan}, "valence is nan"),
        ({"dominance": 9.5}, r"dominance is 9\.5, it must lie in \[1, 9\]"),
        ({"ranking": (RankedEmotion(label="joy", weight=-1),)}, r"ranking\[0\]\.weight is -1"),
    ],
)
def test_no_sample_has_a_label_off_the_scale(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sample(**{"id": "1", "source": "oasis", "license": "free", **changes})
