"""The versions of a run's policy in its store."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import safe_open

from emofeedback.generator.policy_store import WEIGHTS
from emofeedback_trainer.flow_grpo.versions import Versions
from support.fakes import GENERATOR_MODEL
from support.scripted_training import SMALL, SummingLearner, store_of


def alpha(store: str, name: str) -> float:
    """How much the adapter in the store counts, times its rank."""
    with safe_open(Path(store) / name / WEIGHTS, "pt") as file:
        read: float = json.loads(file.metadata()[LORA_ADAPTER_METADATA_KEY])["transformer.lora_alpha"]
    return read


def test_every_end_of_a_run_has_a_name_of_its_own_and_the_same_end_the_same(tmp_path: Path) -> None:
    def final(iteration: int, strength: float) -> str:
        config = replace(SMALL, final_strength=strength)
        adapter = {name: weight + iteration for name, weight in SummingLearner().adapter(averaged=True).items()}
        return (
            Versions(config=config, store=store_of(tmp_path), base=GENERATOR_MODEL)
            .publish_final(iteration, adapter)
            .name
        )

    ends = [(4, 1.0), (8, 1.0), (8, 0.5), (12, 0.5)]
    names = ["small-final", "small-final-000008", "small-final-000008-0.5", "small-final-000012"]
    assert [final(*end) for end in ends] == [final(*end) for end in ends] == names


@pytest.mark.parametrize("strength", [1.0, 0.65])
def test_only_the_final_policy_stops_between_base_and_what_was_learned(strength: float, tmp_path: Path) -> None:
    store = store_of(tmp_path)
    versions = Versions(config=replace(SMALL, final_strength=strength), store=store, base=GENERATOR_MODEL)
    adapter = SummingLearner().adapter(averaged=True)
    assert alpha(store, versions.publish(4, adapter).name) == SMALL.learner.lora_alpha
    assert alpha(store, versions.publish_final(4, adapter).name) == pytest.approx(strength * SMALL.learner.lora_alpha)
