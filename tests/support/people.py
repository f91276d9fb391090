"""People with a taste of their own, for the tests of who sees what."""

from __future__ import annotations

from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.calibration import AxisCalibration, Calibration


def known_of(user: str, judge: ModelInfo, *, valence: tuple[float, float, float] = (3, 4, 5)) -> Calibration:
    """A person who says `valence` where the judge says 1, 5 and 9, and whose arousal is the judge's."""
    axis = AxisCalibration(values=valence, images=12, judge_error=2.0, error=1.0, standard_error=0.2)
    return Calibration(user=user, judge=judge, valence=axis, arousal=None, created="2026-01-01T00:00:00+00:00")
