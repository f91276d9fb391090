"""An optional peer of the learner: the update of Flow-GRPO's own code (github.com/yifan123/flow_grpo), unmodified.

`EMOFEEDBACK_FLOW_GRPO` names the folder of a clone. Of it come the forward with its log-probability (`compute_log_prob`
of `scripts/train_sd3.py`, taken out of its file, whose imports ask for much more) and the SDE; what stands here is the
order of work of its training loop, on a rollout of ours: for each batch and each noise level a forward, one of the
reference without gradient and a backward, and a step of AdamW when the batch's levels are through.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from emofeedback.domain.tensors import to_torch
from emofeedback.profiles.builtin import NANO
from emofeedback_trainer.flow_grpo.batches import rollout_advantages
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig
from emofeedback_trainer.flow_grpo.types import Rollout, ScoredGroup

CLONE = "EMOFEEDBACK_FLOW_GRPO"
"""The environment variable that names the clone."""

_SCRIPT, _FUNCTION = "scripts/train_sd3.py", "compute_log_prob"


class ReferenceLearner:
    """Updates an adapter of the embedded transformer as the clone does, with the learner's settings of `config`."""

    def __init__(self, clone: Path, config: FlowGrpoConfig) -> None:
        learner = config.learner
        base = SD3Transformer2DModel.from_pretrained(NANO / "generator" / "transformer")
        lora = LoraConfig(
            r=learner.rank,
            lora_alpha=learner.lora_alpha,
            init_lora_weights="gaussian",
            target_modules=list(learner.target_modules),
        )
        self._transformer = get_peft_model(base, lora).train()
        self._weights = [weight for weight in self._transformer.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, lr=learner.learning_rate)
        self._scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(NANO / "generator" / "scheduler")
        self._scheduler.set_timesteps(config.sampling.steps)
        self._compute_log_prob = _compute_log_prob(clone)
        self._config = config
        self._settings = SimpleNamespace(
            train=SimpleNamespace(cfg=config.sampling.guidance > 1),
            sample=SimpleNamespace(guidance_scale=config.sampling.guidance, noise_level=config.sampling.noise_level),
        )

    def update(self, rollout: Rollout) -> None:
        """One pass over a rollout whose steps are all noisy but the last: a batch for each group, and a step."""
        for group, advantages in zip(rollout.groups, rollout_advantages(rollout, self._config.rewards), strict=True):
            self._learn(self._batch(group), torch.tensor(advantages), _embeddings(group))

    def _batch(self, group: ScoredGroup) -> Mapping[str, Tensor]:
        latents = torch.stack([to_torch(sample.trajectory.latents) for sample in group.samples])
        recorded = [to_torch(sample.trajectory.log_probabilities) for sample in group.samples]
        return {
            "latents": latents[:, :-1],
            "next_latents": latents[:, 1:],
            "log_probs": torch.stack(recorded),
            "timesteps": self._scheduler.timesteps.repeat(len(group.samples), 1),
        }

    def _learn(self, sample: Mapping[str, Tensor], advantages: Tensor, embeddings: tuple[Tensor, Tensor]) -> None:
        learner, levels = self._config.learner, sample["log_probs"].shape[1]
        assert isinstance(self._transformer, PeftModel)
        for level in range(levels):
            _, log_probability, mean, std = self._look(sample, level, embeddings)
            with torch.no_grad(), self._transformer.disable_adapter():
                _, _, reference, _ = self._look(sample, level, embeddings)
            ratio = torch.exp(log_probability - sample["log_probs"][:, level])
            within = ratio.clamp(1 - learner.clip_range, 1 + learner.clip_range)
            divergence = (mean - reference).square().mean(dim=(1, 2, 3), keepdim=True) / (2 * std**2)
            policy = torch.maximum(-advantages * ratio, -advantages * within).mean()
            ((policy + learner.beta * divergence.mean()) / levels).backward()
        nn.utils.clip_grad_norm_(self._weights, learner.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _look(self, sample: Mapping[str, Tensor], level: int, embeddings: tuple[Tensor, Tensor]) -> Any:
        pipeline = SimpleNamespace(scheduler=self._scheduler)
        return self._compute_log_prob(self._transformer, pipeline, sample, level, *embeddings, self._settings)


def flow_grpo_clone() -> Path | None:
    """The clone's folder, or None where the environment names none.

    Raises:
        FileNotFoundError: what it names is no clone.
    """
    named = os.environ.get(CLONE)
    if named and not (Path(named) / _SCRIPT).is_file():
        raise FileNotFoundError(f"{CLONE} is {named!r}, there is no {_SCRIPT} in it")
    return Path(named) if named else None


def _compute_log_prob(clone: Path) -> Callable[..., Any]:
    sys.path.insert(0, str(clone))
    from flow_grpo.diffusers_patch.sd3_sde_with_logprob import sde_step_with_logprob  # type: ignore[import-not-found]

    script = ast.parse((clone / _SCRIPT).read_text(encoding="utf-8"))
    [function] = [node for node in script.body if isinstance(node, ast.FunctionDef) and node.name == _FUNCTION]
    names: dict[str, Any] = {"torch": torch, "sde_step_with_logprob": sde_step_with_logprob}
    exec(compile(ast.Module([function], []), _SCRIPT, "exec"), names)
    made: Callable[..., Any] = names[_FUNCTION]
    return made


def _embeddings(group: ScoredGroup) -> tuple[Tensor, Tensor]:
    """Tokens and pooled vectors of every sample, before them those of the empty prompt where guidance is on."""
    read = [one for one in (group.started.negative, group.started.conditioning) if one is not None]
    tokens, pooled = (
        torch.cat([to_torch(getattr(one, part))[None].expand(len(group.samples), *[-1] * dims) for one in read])
        for part, dims in (("tokens", 2), ("pooled", 1))
    )
    return tokens, pooled
