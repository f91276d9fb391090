"""Configurations of Flow-GRPO runs."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.overrides import flat, to_toml
from emofeedback_trainer.core.config import RenamedKey
from emofeedback_trainer.flow_grpo.config import CONFIGS, FlowGrpoConfig, SamplingConfig, load_config, with_changes

BAD = [0, -1, math.nan, math.inf, "nonsense", "", True, [], {}, None, 1.5]


def written(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_a_run_keeps_of_its_configuration_is_read_back_as_it_was(name: str, tmp_path: Path) -> None:
    assert load_config(written(tmp_path, to_toml(CONFIGS[name]))) == CONFIGS[name]


def test_only_diffusion_nft_learns_without_noisy_steps(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, 'learner.objective = "nft"\nsampling.sde_window_size = 0\n'))
    assert config.sampling.window(0).length == 0
    with pytest.raises(InvalidRequest, match="sde_window_size"):
        load_config(written(tmp_path, 'learner.objective = "flow-grpo"\nsampling.sde_window_size = 0\n'))


def test_a_file_changes_some_keys_of_a_built_in_configuration(tmp_path: Path) -> None:
    text = 'extends = "sd35-medium"\niterations = 7\nlearner = { rank = 8, target_modules = ["to_q"] }\n'
    text += "[rewards]\nvalence = 1\n"
    config = load_config(written(tmp_path, text))
    assert (config.iterations, config.learner.rank, config.learner.target_modules) == (7, 8, ("to_q",))
    assert config.rewards.valence == 1.0
    assert config.profile == "sd35-medium"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("learner.learning_rat = 1", "learner.learning_rat"),
        ('learner.rank = "many"', "learner.rank"),
        ("learner.rank = 0", "learner.rank"),
        ("num_generations = 1", "num_generations"),
        ("num_generations = 65", "num_generations"),
        ("iterations = 0", "iterations"),
        ("seed = -1", "seed"),
        ("target_gap = 4.5", "target_gap"),
        ('name = "../run"', "name"),
        ('rewards.shape = "stairs"', "rewards.shape"),
        ("rewards.alignment = -1.0", "rewards.alignment"),
        ("rewards.threshold = nan", "rewards.threshold"),
        ("rewards = { valence = 0, arousal = 0, alignment = 0 }", "rewards"),
        ("sampling.guidance = 0.5", "sampling.guidance"),
        ('sampling = { sde_type = "cps", noise_level = 1.5 }', "sampling.noise_level"),
        ("sampling.sde_window_range = [0, 10]", "sampling.sde_window_range"),
        ("sampling.sde_window_range = [3, 2]", "sampling.sde_window_range"),
        ("learner.clip_range = 0", "learner.clip_range"),
        ("learner.ema_decay = 1.0", "learner.ema_decay"),
        ("learner = { kl_mask_threshold = 1e-4, ratio_normalization = true }", "learner.kl_mask_threshold"),
        ('learner = { kl_mask_threshold = 1e-4, objective = "nft" }', "learner.kl_mask_threshold"),
        ("learner.target_modules = []", "learner.target_modules"),
        ("panel.every = 0", "panel.every"),
        ('address = "127.0.0.1:9000"', "policies"),
        ("panel.pairs = 49", "panel.pairs"),
        ('profile = "huge"', "profile"),
        ("extends = 3", "config.extends"),
        ("iterations", "config"),
    ],
)
def test_a_bad_key_is_named(line: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_config(written(tmp_path, line))
    assert [violation.field for violation in caught.value.violations] == [key]


def test_all_bad_ranges_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_config(written(tmp_path, "groups = 0\nsampling.steps = 1\npatience = -1.0\nsampling.sde_window_size = -1"))
    fields = {violation.field for violation in caught.value.violations}
    assert {"groups", "sampling.steps", "patience", "sampling.sde_window_size"} <= fields


def test_a_name_that_is_neither_built_in_nor_a_file_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="nano, nano-window, nano-grpo, sd35-medium"):
        load_config("giga")


def test_the_papers_mode_makes_all_steps_noisy_but_the_last() -> None:
    sampling = SamplingConfig(mode="full", steps=10)
    assert list(sampling.windows) == [0]
    assert sampling.window(0).length == 9


def test_a_window_may_reach_up_to_the_last_step_but_one() -> None:
    sampling = SamplingConfig(steps=10, sde_window_size=3, sde_window_range=(2, 6))
    config = dataclasses.replace(FlowGrpoConfig(), sampling=sampling)
    window = config.sampling.window(max(config.sampling.windows))
    assert window.first + window.length == 9


OLD_WORDS = """extends = "nano-window"
concurrent_groups = 3
sampling = { kind = "cps", level = 0.9, window_length = 1, window_to = 5 }
rewards = { form = "step", spread = "batch" }
[learner]
alpha = 8
modules = ["to_q"]
clip_norm = 2.0
kl_weight = 0.2
nft_strength = 0.5
inner_epochs = 2
"""


def test_keys_by_their_old_names_are_read_with_a_warning_that_says_the_new_ones(tmp_path: Path) -> None:
    with pytest.warns(RenamedKey) as warned:
        config = load_config(written(tmp_path, OLD_WORDS))
    expected = with_changes(
        CONFIGS["nano-window"],
        {
            "max_concurrent_groups": 3,
            "sampling": {"sde_type": "cps", "noise_level": 0.9, "sde_window_size": 1, "sde_window_range": [0, 5]},
            "rewards": {"shape": "step", "scale_rewards": "batch"},
            "learner": {
                **{"lora_alpha": 8, "target_modules": ["to_q"], "max_grad_norm": 2.0, "beta": 0.2, "nft_beta": 0.5},
                "num_inner_epochs": 2,
            },
        },
    )
    assert config == expected
    assert "the key learner.kl_weight is now called learner.beta" in {str(warning.message) for warning in warned}
    assert len(warned) == 13


@given(key=st.sampled_from(sorted(flat(CONFIGS["nano"]))), value=st.sampled_from(BAD))
def test_any_value_of_any_key_gives_a_configuration_or_a_refusal_that_names_the_key(key: str, value: Any) -> None:
    try:
        config = with_changes(CONFIGS["nano"], {key: value})
    except InvalidRequest as error:
        # What doesn't fit together is named where it is mended.
        together = {
            "address": "policies",
            "learner.objective": "sampling.sde_window_size",
            "rewards.function": "rewards.own",
            "rewards.own": "rewards.function",
            "sampling.steps": "sampling.sde_window_range",
            "sampling.sde_window_size": "sampling.sde_window_range",
        }
        assert error.violations and {each.field for each in error.violations} <= {key, together.get(key)}
    else:
        assert flat(config)[key] == value
