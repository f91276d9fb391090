"""A run goes on from a published policy, and a fused one's connector goes along."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, NotFound
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.reasoning import Imagination
from emofeedback.generator.policies import Policies
from emofeedback.generator.policy_store import CONNECTOR_CONFIG, CONNECTOR_WEIGHTS, MANIFEST, PolicyStore
from emofeedback.generator.preflight import WEIGHTED
from emofeedback.storage.checkpoints import digest
from emofeedback_trainer.core.publish import publish
from emofeedback_trainer.evaluation.panel import Panel
from emofeedback_trainer.flow_grpo.learning import LearnerConfig
from emofeedback_trainer.flow_grpo.start import read_start
from emofeedback_trainer.flow_grpo.trainer import RunResult, train
from emofeedback_trainer.flow_grpo.versions import Versions
from emofeedback_trainer.nano.task import TASK
from support.fakes import GENERATOR_MODEL, JUDGE_MODEL, ScriptedJudge
from support.scripted_training import SMALL, StoreGenerator, SummingLearner, store_of
from support.tiny_checkpoints import TINY_JUDGE, save_tiny_policy, tiny_fused, tiny_velocity


@pytest.fixture
def base(tiny_sd3: Path) -> ModelInfo:
    return ModelInfo(name=tiny_sd3.name, digest=digest(tiny_sd3, WEIGHTED))


def test_what_is_published_is_the_start_and_what_was_learned_behind_it(
    tiny_sd3: Path, base: ModelInfo, tmp_path: Path
) -> None:
    felt = save_tiny_policy(tmp_path / "felt", tiny_sd3, fused=tiny_fused(tiny_sd3))
    start = read_start(str(felt))
    learner = SD3Transformer2DModel.from_pretrained(tiny_sd3 / "transformer").eval()
    start.merge_into(learner)
    begun = tiny_velocity(learner)
    # Learned on other layers than the start's and at another rank: `to_q` has both.
    learner.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_k"]))
    random = torch.Generator().manual_seed(3)
    learned = {
        name: torch.randn(weight.shape, generator=random) / 4
        for name, weight in get_peft_model_state_dict(learner).items()
    }
    set_peft_model_state_dict(learner, learned)
    config = replace(SMALL, learner=LearnerConfig(rank=4, lora_alpha=8))
    version = Versions(config=config, store=str(tmp_path), base=base, start=start).publish(3, learned)

    generator = SD3Transformer2DModel.from_pretrained(tiny_sd3 / "transformer").eval()
    policies = Policies(str(tmp_path), generator, base)
    policies.fetch(version.name)
    policies.use(version.name)
    assert version.fused and policies.fused(version.name).judge == TINY_JUDGE
    torch.testing.assert_close(tiny_velocity(generator), tiny_velocity(learner), atol=1e-4, rtol=1e-4)
    assert (tiny_velocity(learner) - begun).abs().max() > 0.01
    for file in (CONNECTOR_CONFIG, CONNECTOR_WEIGHTS):
        assert (tmp_path / version.name / file).read_bytes() == (felt / file).read_bytes()
    manifests = [PolicyStore(str(tmp_path)).manifest(name) for name in ("felt", version.name)]
    assert manifests[0].fusion == manifests[1].fusion
    policies.close()


async def trained(
    folder: Path, start: Path, judge: ScriptedJudge, generator: StoreGenerator | None = None
) -> RunResult:
    config = replace(SMALL, start=str(start), iterations=2)
    return await train(
        config,
        folder,
        generator=generator or StoreGenerator(store=store_of(folder)),
        judge=judge,
        learner=SummingLearner(),
        panel=Panel(pairs=TASK.panel[:2], images=2, rewards=config.rewards, independent=None),
    )


def published(folder: Path, tiny_sd3: Path, **changes: Any) -> Path:
    """A policy of the scripted generator, fused with the scripted judge."""
    fused = replace(tiny_fused(tiny_sd3), judge=JUDGE_MODEL)
    asked = {"base": GENERATOR_MODEL, "fused": fused, **changes}
    adapter = SummingLearner().adapter(averaged=False)
    publish(str(folder), "felt", adapter, rank=2, alpha=2, run="fused", step=0, **asked)
    return folder / "felt"


async def test_a_run_from_a_fused_policy_is_painted_from_imaginations(tiny_sd3: Path, tmp_path: Path) -> None:
    class Fused(StoreGenerator):
        """Every policy of the run is fused."""

        def _check_emotion(self, request: Any) -> None:
            self.fused = {**self.fused, request.policy: JUDGE_MODEL}
            super()._check_emotion(request)

    run, judge = tmp_path / "run", ScriptedJudge()
    generator = Fused(store=store_of(run))
    result = await trained(run, published(tmp_path, tiny_sd3), judge, generator)
    assert len(generator.groups) == 2 * SMALL.groups
    assert all(request.emotion is not None and request.emotion.variations == 1 for request in generator.groups)
    assert all(isinstance(subject, Imagination) and "valence" not in subject.prompt for subject in judge.subjects)
    assert {request.emotion is not None for request in generator.requests} == {True}, "the panel's pictures as well"
    fusion = PolicyStore(store_of(run)).manifest(result.policy).fusion
    assert fusion is not None and fusion.judge == JUDGE_MODEL


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base": ModelInfo(name="another", digest="sha256:" + "7" * 64)}, "was made for another .sha256:7{64}."),
        ({"fused": TINY_JUDGE}, "reads the emotion tokens of tiny-judge .sha256:5{64}., this judge is scripted-judge"),
    ],
)
async def test_a_start_of_other_models_is_refused(
    tiny_sd3: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    if isinstance(changes.get("fused"), ModelInfo):
        changes = {"fused": replace(tiny_fused(tiny_sd3), judge=changes["fused"])}
    with pytest.raises(FailedPrecondition, match=f"start: the policy {words}"):
        await trained(tmp_path / "run", published(tmp_path, tiny_sd3, **changes), ScriptedJudge())


def test_what_cant_be_begun_with_is_said(tiny_sd3: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="start: is 'felt', it must be the folder of a policy"):
        read_start("felt")
    felt = save_tiny_policy(tmp_path / "felt", tiny_sd3, fused=tiny_fused(tiny_sd3))
    with pytest.raises(NotFound, match="'unfelt' is unknown, known are: felt"):
        read_start(str(tmp_path / "unfelt"))
    manifest = json.loads((felt / MANIFEST).read_text())
    (felt / MANIFEST).write_text(json.dumps({**manifest, "modules": 3}))
    with pytest.raises(FailedPrecondition, match="start: policy 'felt' can't be gone on from"):
        read_start(str(felt))
