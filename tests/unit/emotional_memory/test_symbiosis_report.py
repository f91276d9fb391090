"""What rounds of understanding and painting are said to have come to."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.emotional_memory.refresh_config import REFRESH_CONFIGS
from emofeedback_trainer.emotional_memory.symbiosis import (
    REAL,
    SEEN,
    UNSEEN,
    ArmResult,
    Painting,
    Round,
    Symbiosis,
)
from emofeedback_trainer.emotional_memory.symbiosis_report import draw_rounds, rounds_table, verdict


def _arm(
    name: str, *, real: float = 0.4, painted: float = 0.5, policy: float | None = None, first: float = 0.6
) -> ArmResult:
    noise = np.random.default_rng(0).normal(0, 0.1, 60)
    errors = {REAL: (real + noise).tolist(), SEEN: (painted + noise).tolist(), UNSEEN: (painted + noise).tolist()}
    painting = None if policy is None else Painting(policy=name, errors=tuple((policy + noise).tolist()))
    return ArmResult(
        arm=name,
        kept=True,
        errors=errors,
        before={name: [first] * 60 for name in (REAL, SEEN, UNSEEN)},
        drift=None,
        painting=painting,
    )


def _round(*arms: ArmResult) -> list[Round]:
    return [Round(number=1, learned_from=100, arms=arms)]


def test_a_judge_that_reads_painted_pictures_better_for_nothing_is_a_yes() -> None:
    said = verdict(_round(_arm("memory", painted=0.45, real=0.405), _arm("alone")))
    assert said.startswith("Painting helps understanding: ")
    assert "changes by -9.8%" in said and "on real ones by +0.005" in said


def test_a_gain_over_the_same_steps_alone_but_none_over_the_first_judge_is_told_as_what_it_is() -> None:
    said = verdict(_round(_arm("memory", painted=0.45, first=0.45), _arm("alone", first=0.45)))
    assert said.startswith("Painting keeps a judge that learns on from getting worse, and makes it no better")


@pytest.mark.parametrize("changes", [{"painted": 0.5}, {"painted": 0.55}, {"painted": 0.4, "real": 0.42}])
def test_no_gain_a_loss_or_a_gain_paid_for_by_real_pictures_is_a_no(changes: dict[str, float]) -> None:
    said = verdict(_round(_arm("memory", **changes), _arm("alone")))
    assert said.startswith("Painting does not help understanding: ")
    assert said.endswith("whether understanding helps painting was not tried.")


@pytest.mark.parametrize(("policy", "answer"), [(1.5, "understanding helps painting"), (2.0, "does not help painting")])
def test_the_way_back_is_judged_by_the_policies(policy: float, answer: str) -> None:
    assert answer in verdict(_round(_arm("memory", policy=policy), _arm("alone", policy=2.0)))


def test_the_table_has_a_row_for_each_arm_and_holds_it_against_the_same_steps_alone() -> None:
    lines = rounds_table(_round(_arm("memory", painted=0.45), _arm("alone"), _arm("published", real=0.9))).splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:5]] == ["memory", "alone", "published"]
    assert "-9.8%" in lines[2] and "+0.500" in lines[4] and "%" not in lines[3]
    assert lines[-1].startswith("The first judge's error: 0.600 on real pictures (n 60)")


def test_the_picture_is_one() -> None:
    assert Image.open(io.BytesIO(draw_rounds(_round(_arm("memory"), _arm("alone"))))).width > 1000


@pytest.mark.parametrize(
    ("field", "changes"),
    [("rounds", {"rounds": 0}), ("unseen", {"unseen": "a"}), ("arms", {"arms": ("memory", "published")})],
)
def test_a_plan_that_could_not_tell_anything_is_refused(field: str, changes: dict[str, object]) -> None:
    base = {"data": Path(), "policies": ("a",), "unseen": "b", "refresh": REFRESH_CONFIGS["nano"]}
    with pytest.raises(InvalidRequest, match=f"^{field}: "):
        Symbiosis(**(base | changes))  # type: ignore[arg-type]
