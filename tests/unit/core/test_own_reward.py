"""A reward of one's own: a function by its name, what it is given, and what is said where it is wrong."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.core.rewards import RewardConfig, RewardedImage, rewards
from emofeedback_trainer.flow_grpo.config import CONFIGS, with_changes
from support.fakes import assessment

SEEN = RewardedImage(
    image=b"png", prompt="a boat", target=AffectPoint(6.0, 3.0), assessment=assessment(6.0, 3.0), alignment=0.25
)

Named = Callable[[str, object], str]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Named:
    """Puts something into a module, and gives its name as the configuration has it."""

    def put(name: str, thing: object) -> str:
        module = ModuleType(f"rewards_of_{name}")
        setattr(module, name, thing)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return f"{module.__name__}:{name}"

    return put


def test_it_is_given_the_image_and_all_that_is_known_of_it_and_counts_by_its_weight(named: Named) -> None:
    given: list[RewardedImage] = []

    def long_prompts(seen: RewardedImage) -> float:
        given.append(seen)
        return len(seen.prompt)

    config = RewardConfig(function=named("long_prompts", long_prompts), own=0.25)
    assert rewards(SEEN, config) == {"valence": 1.0, "arousal": 1.0, "alignment": 0.25, "own": 6.0}
    assert given == [SEEN]
    assert config.weights == {**RewardConfig().weights, "own": 0.25}


def fails(seen: RewardedImage) -> float:
    raise KeyError(seen.prompt)


@pytest.mark.parametrize(
    ("thing", "problem"),
    [
        (None, "is no function but a NoneType"),
        (fails, "raised KeyError: 'a boat' .*test_own_reward.py, line "),
        (lambda seen: math.nan, "returned nan, it must return a finite number"),
        (lambda seen: "much", "returned 'much', it must return a finite number"),
        (lambda seen: None, "returned None, it must return a finite number"),
    ],
)
def test_what_is_wrong_with_it_is_told_by_its_key_and_its_name(named: Named, thing: object, problem: str) -> None:
    source = named(f"wrong_{abs(hash(problem))}", thing)
    with pytest.raises(InvalidRequest, match=f"rewards.function: '{source}' {problem}"):
        rewards(SEEN, RewardConfig(function=source, own=1.0))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("warmth", "is not of the form module:function"),
        ("examples/own_reward.py", "is not of the form module:function"),
        ("no_such_module:warmth", "can't be imported: No module named 'no_such_module'"),
        ("math:warmth", "can't be imported: module 'math' has no attribute 'warmth'"),
    ],
)
def test_what_can_not_be_found_is_told_by_its_key(source: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=f"rewards.function: '{source}' {problem}"):
        rewards(SEEN, RewardConfig(function=source, own=1.0))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rewards.own": 0.5}, "rewards.function: is missing, own weighs 0.5"),
        ({"rewards.function": "math:floor"}, "rewards.own: is 0, so 'math:floor' would count for nothing"),
    ],
)
def test_function_and_weight_go_together(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        with_changes(CONFIGS["nano"], changes)


def test_a_configuration_without_it_rewards_as_before() -> None:
    assert "own" not in CONFIGS["nano"].rewards.weights and "own" not in rewards(SEEN, CONFIGS["nano"].rewards)
