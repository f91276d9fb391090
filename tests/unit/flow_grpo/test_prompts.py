"""What the groups of a run are asked for."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.evaluation.pairs import is_held_out
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig, SamplingConfig
from emofeedback_trainer.flow_grpo.prompts import GroupPlan, TrainingPrompt, plan, read_training_prompts
from emofeedback_trainer.nano.world.language import core
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS, sample_scene

WISHES = tuple(TrainingPrompt(prompt=f"prompt {number}") for number in range(10))


def planned(
    iteration: int,
    *,
    training_prompts: tuple[TrainingPrompt, ...] = WISHES,
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
    assert all(Counter(each) == Counter(wish.prompt for wish in WISHES) for each in passes)
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


def test_a_target_in_the_file_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a dog", "valence": 7, "arousal": 3.5}\n\n{"prompt": "a cat"}\n')
    assert read_training_prompts(str(file)) == (
        TrainingPrompt(prompt="a dog", target=AffectPoint(7.0, 3.5)),
        TrainingPrompt(prompt="a cat"),
    )
    group = next(
        g for g in planned(0, training_prompts=read_training_prompts(str(file))) if g.condition.prompt == "a dog"
    )
    assert group.condition.caption == "a dog, valence 7, arousal 4"


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("a dog", "prompts[1]"),
        ('["a dog"]', "prompts[1].prompt"),
        ('{"prompt": " "}', "prompts[1].prompt"),
        ('{"prompt": "a dog", "valence": 7}', "prompts[1].arousal"),
        ('{"prompt": "a dog", "valence": 7, "arousal": true}', "prompts[1].arousal"),
        ('{"prompt": "a dog", "valence": 7, "arousal": 12}', "prompts[1]"),
    ],
)
def test_a_bad_line_is_named(line: str, field: str, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a cat"}\n' + line)
    with pytest.raises(InvalidRequest) as caught:
        read_training_prompts(str(file))
    assert caught.value.violations[0].field == field


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    for name in ("empty.jsonl", "missing.jsonl"):
        with pytest.raises(InvalidRequest, match=name):
            read_training_prompts(str(tmp_path / name))


def test_a_quarter_of_the_nano_world_is_never_trained_on() -> None:
    held_out = [(subject, place) for subject in SUBJECTS for place in PLACES if is_held_out(subject, place)]
    assert len(held_out) == len(SUBJECTS) * len(PLACES) // 4
    assert {subject for subject, _ in held_out} == set(SUBJECTS)
    assert {place for _, place in held_out} == set(PLACES)
    prompts = [wish.prompt for wish in read_training_prompts("nano")]
    trained = [pair for pair, text in _named_pairs().items() if any(prompt.endswith(text) for prompt in prompts)]
    assert len(trained) == 72
    assert not set(trained) & set(held_out)


def _named_pairs() -> dict[tuple[str, str], str]:
    """Every pair of subject and place, and how it is called: "a dog in a meadow"."""
    rng = np.random.default_rng(0)
    pairs = [(subject, place) for subject in SUBJECTS for place in PLACES]
    return {(subject, place): core(sample_scene(rng, subject=subject, place=place)) for subject, place in pairs}
