"""What the groups of a run are asked for."""

from collections import Counter

import numpy as np

from emofeedback.domain.affect import AffectPoint
from emofeedback_trainer.core.task import TrainingPrompt
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig, SamplingConfig
from emofeedback_trainer.flow_grpo.prompts import GroupPlan, plan

PROMPTS = tuple(TrainingPrompt(prompt=f"prompt {number}") for number in range(10))


def planned(
    iteration: int,
    *,
    training_prompts: tuple[TrainingPrompt, ...] = PROMPTS,
    seed: int = 3,
    groups: int = 6,
    common_start: bool = True,
    gap: float = 0.0,
) -> tuple[GroupPlan, ...]:
    config = FlowGrpoConfig(
        seed=seed,
        groups=groups,
        num_generations=4,
        target_gap=gap,
        sampling=SamplingConfig(sde_window_range=(1, 4), common_start=common_start),
    )
    return plan(training_prompts, config, iteration)


def test_an_iterations_batch_follows_from_seed_and_iteration_alone() -> None:
    assert planned(17) == planned(17)
    assert planned(17) != planned(18)
    assert planned(17) != planned(17, seed=4)


def test_every_prompt_comes_once_in_a_pass_and_the_next_pass_has_another_order() -> None:
    prompts = [group.condition.prompt for iteration in range(10) for group in planned(iteration)]
    passes = [prompts[first : first + 10] for first in range(0, 60, 10)]
    assert all(Counter(each) == Counter(one.prompt for one in PROMPTS) for each in passes)
    assert len({tuple(each) for each in passes}) == 6


def test_the_targets_of_one_iteration_spread_over_both_axes() -> None:
    for axis in _targets(0).T:
        assert all(abs(value - middle) <= 1 for value, middle in zip(sorted(axis), np.arange(1.5, 9), strict=True))
    both = np.concatenate([_targets(iteration) for iteration in range(50)])
    assert abs(np.corrcoef(both.T)[0, 1]) < 0.15


def test_targets_keep_away_from_the_middle_on_both_sides_of_each_axis() -> None:
    drawn = np.concatenate([_targets(iteration, gap=2.0) for iteration in range(50)])
    assert {float(value) for value in np.unique(drawn)} == {1.0, 2.0, 3.0, 7.0, 8.0, 9.0}
    for axis in _targets(0, gap=2.0).T:
        assert sum(axis < 5) == sum(axis > 5) == 4


def test_a_target_is_what_the_generator_reads() -> None:
    for group in planned(0, groups=8):
        target = group.condition.target
        assert group.condition.caption.endswith(f"valence {target.valence:g}, arousal {target.arousal:g}")


def _targets(iteration: int, gap: float = 0.0) -> np.ndarray:
    targets = [group.condition.target for group in planned(iteration, groups=8, gap=gap)]
    return np.array([[target.valence, target.arousal] for target in targets])


def test_no_two_samples_of_a_run_share_a_seed() -> None:
    seeds = [seed for iteration in range(20) for group in planned(iteration) for seed in group.seeds]
    assert len(set(seeds)) == len(seeds) == 20 * 6 * 4


def test_a_group_starts_from_a_noise_of_its_own() -> None:
    starts = [group.start_seed for iteration in range(20) for group in planned(iteration)]
    assert len(set(starts)) == len(starts)
    seeds = [seed for iteration in range(20) for group in planned(iteration) for seed in group.seeds]
    assert not set(starts) & set(seeds)
    apart = planned(17, common_start=False)
    assert [group.start_seed for group in apart] == [None] * 6
    assert [group.seeds for group in apart] == [group.seeds for group in planned(17)]


def test_windows_move_from_group_to_group_within_their_range() -> None:
    firsts = Counter(group.window_first for iteration in range(20) for group in planned(iteration))
    assert set(firsts) == {1, 2, 3, 4}


def test_a_target_of_the_prompts_own_is_kept_as_the_generator_reads_it() -> None:
    own = (TrainingPrompt(prompt="a dog", target=AffectPoint(7.0, 3.5)), *PROMPTS[:5])
    group = next(group for group in planned(0, training_prompts=own) if group.condition.prompt == "a dog")
    assert group.condition.caption == "a dog, valence 7, arousal 4"
