"""Rewards of single pictures, and what a rollout looks like in numbers."""

import pytest
from pydantic.dataclasses import dataclass

from emofeedback.domain.affect import AffectPoint
from emofeedback_trainer.core.rewards import RewardConfig, RewardedImage, continuous_reward, rewards, step_reward
from support.fakes import assessment

TARGET = AffectPoint(6.0, 3.0)


def seen(valence: float, arousal: float, alignment: float = 0.0) -> RewardedImage:
    return RewardedImage(
        image=b"", prompt="a boat", target=TARGET, assessment=assessment(valence, arousal), alignment=alignment
    )


@pytest.mark.parametrize(("error", "reward"), [(0.0, 1.0), (0.7, 1.0), (-0.7, 1.0), (0.71, 0.0), (-5.0, 0.0)])
def test_the_step_reward_is_1_within_the_threshold(error: float, reward: float) -> None:
    assert step_reward(error, 0.7) == reward


@pytest.mark.parametrize(("error", "reward"), [(0.0, 1.0), (2.0, 0.75), (-2.0, 0.75), (8.0, 0.0)])
def test_the_continuous_reward_falls_linearly_over_the_scale(error: float, reward: float) -> None:
    assert continuous_reward(error) == pytest.approx(reward)


def test_each_axis_is_rewarded_on_its_own() -> None:
    earned = rewards(seen(6.5, 5.0, 0.25), RewardConfig())
    assert earned == {"valence": 1.0, "arousal": 0.0, "alignment": 0.25}


def test_near_misses_differ_in_the_continuous_reward_only() -> None:
    near, far = seen(7.0, 3.0), seen(9.0, 3.0)
    step, continuous = RewardConfig(), RewardConfig(shape="continuous")
    assert rewards(near, step) == rewards(far, step)
    assert rewards(near, continuous)["valence"] > rewards(far, continuous)["valence"]


def test_weights_go_by_the_names_of_the_rewards() -> None:
    config = RewardConfig(valence=0.2, arousal=0.3, alignment=0.5)
    assert config.weights == {"valence": 0.2, "arousal": 0.3, "alignment": 0.5}
    assert config.weights.keys() == rewards(seen(5.0, 5.0), config).keys()


def test_a_key_that_says_nothing_else_is_the_weight_of_the_reward_of_its_name() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Colorful(RewardConfig):
        color: float = 0.1

    assert Colorful().weights == {**RewardConfig().weights, "color": 0.1}
