"""How a run of the loop went: what its rounds did, by readings that are known."""

import pytest

from emofeedback.domain.affect import AffectPoint
from emofeedback_trainer.evaluation.course import BEYOND, Course, Seen, course

TARGET = AffectPoint(7.0, 3.0)


def seen(prompt: str, *points: tuple[float, float]) -> list[Seen]:
    return [Seen(prompt=prompt, point=AffectPoint(*point)) for point in points]


def test_a_run_of_one_round_has_no_course() -> None:
    assert course([seen("a cat", (5, 5))], TARGET, AffectPoint(5, 5)) is None


def test_rounds_that_come_nearer_on_both_axes_lost_nothing() -> None:
    rounds = [seen("a cat", (5, 5), (4, 6)), seen("a happy cat", (6, 4)), seen("a sleepy, happy cat", (7, 3))]
    assert course(rounds, TARGET, AffectPoint(7, 3)) == Course(overshot=0, one_axis=0, repeated=0, hopeless=0, regret=0)


@pytest.mark.parametrize(
    ("valence", "overshot"), [(TARGET.valence + BEYOND, 0), (TARGET.valence + BEYOND + 0.1, 1), (2, 0)]
)
def test_overshooting_is_to_pass_the_target_and_not_to_stay_before_it(valence: float, overshot: float) -> None:
    went = course([seen("a cat", (5, 3)), seen("a merry cat", (valence, 3))], TARGET, AffectPoint(5, 3))
    assert went is not None and went.overshot == overshot


def test_each_cause_is_a_share_of_the_later_rounds_and_regret_an_error() -> None:
    rounds = [
        seen("a cat", (5, 5)),
        seen("a wild cat", (7, 7), (8, 7)),  # nearer in valence, farther in arousal, none nearer than before
        seen("a cat", (6.5, 3)),  # no new prompt, nearer than all before
    ]
    assert course(rounds, TARGET, AffectPoint(5, 5)) == Course(
        overshot=0, one_axis=0.5, repeated=0.5, hopeless=0.5, regret=3.5
    )
