"""The configuration of a Flow-GRPO run: a frozen tree, the built-in ones, and TOML files that change some keys.

extends = "nano"
iterations = 50
learner.learning_rate = 1e-4
[rewards]
alignment = 0.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIDDLE
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import NoiseWindow
from emofeedback.domain.limits import LIMITS
from emofeedback.generator.policy_store import PolicyStore
from emofeedback.profiles.overrides import changed, extended, flat, load_profile
from emofeedback.profiles.profile import STRICT, Count, NotNegative, inconsistent
from emofeedback_trainer.core.config import renamed
from emofeedback_trainer.core.pairs import MOST_PAIRS
from emofeedback_trainer.core.rewards import RewardConfig
from emofeedback_trainer.flow_grpo.learning import TEXT_SIDE, LearnerConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SamplingConfig:
    """How trajectories are painted. Only noisy steps are trained; the others follow the ODE."""

    steps: Annotated[int, Field(ge=2, le=LIMITS.steps)] = 10
    """Denoising steps; the paper's."""
    guidance: Annotated[float, Field(ge=1, le=LIMITS.guidance)] = 1.0
    """Classifier-free guidance scale in rollout and training; 1 is off, which halves the forwards."""
    sde_type: Literal["sde", "cps"] = "sde"
    """The stochastic step: see `NoiseWindow`."""
    noise_level: Annotated[float, Field(ge=LIMITS.smallest_noise_level, le=LIMITS.sde_noise_level)] = 0.7
    """How much noise a noisy step adds; with `cps` at most 1, where all of the noise is fresh."""
    mode: Literal["window", "full"] = "window"
    """A short window of noisy steps, or the paper's mode: all of them but the last, whose noise is too small."""
    sde_window_size: Annotated[int, Field(ge=0)] = 2
    """Noisy steps of a window; 0, all steps follow the ODE, where the objective is `nft`, which needs no noise."""
    sde_window_range: tuple[int, int] = (0, 3)
    """The earliest and the latest first step of a window; each group's is drawn from the one to the other."""
    common_start: bool = True
    """All samples of a group start from one noise, so that what their rewards differ by is what the noisy steps did."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.sde_type == "cps" and self.noise_level > LIMITS.cps_noise_level:
            limit = f"at most {LIMITS.cps_noise_level:g} for cps"
            raise inconsistent("noise_level", f"is {self.noise_level}, it must be {limit}")
        first, latest = self.sde_window_range
        last = self.steps - 1 - self.sde_window_size
        if self.mode == "window" and not 0 <= first <= latest <= last:
            limit = f"two steps from 0 to {last} in their order: the last step is never noisy"
            raise inconsistent("sde_window_range", f"is [{first}, {latest}], it must be {limit}")
        return self

    @property
    def windows(self) -> range:
        """Where a group's window may begin."""
        first, latest = self.sde_window_range
        return range(1) if self.mode == "full" else range(first, latest + 1)

    def window(self, first: int) -> NoiseWindow:
        """The noise window that begins at step `first`."""
        length = self.steps - 1 if self.mode == "full" else self.sde_window_size
        return NoiseWindow(kind=self.sde_type, level=self.noise_level, first=first, length=length)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PanelConfig:
    """How often the held-out panel is measured, and how large it is."""

    every: Count = 10
    """Iterations between two measurements; the first comes before any training, the last after it."""
    pairs: Annotated[int, Field(ge=1, le=MOST_PAIRS)] = 16
    """Held-out pairs of prompt and target; fewer where the task has no more."""
    images: Annotated[int, Field(ge=1, le=LIMITS.images_per_call)] = 2
    """Pictures a pair, at the same seeds each time."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FlowGrpoConfig:
    """One run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] = "nano"
    """Of the run; its policies are called `<name>-<iteration>` and `<name>-final` (see `Versions.publish_final`)."""
    profile: str = "nano"
    """Name or TOML file of the profile whose generator learns and whose judge rewards."""
    address: str = ""
    """HOST:PORT of running services; empty: engines in this process. With it, `policies` names the very folder from
    which the generator there takes its own."""
    policies: str = ""
    """fsspec URI where adapters are published and the generator fetches them; empty: `policies` in the run's folder."""
    start: str = ""
    """Folder or fsspec URI of the published policy that the run begins with and is held near to; empty: the base
    weights. Of a fused policy the pictures are painted from what the judge imagines, and its connector goes along."""
    final_strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the learned change in the final policy, in (0, 1]. Between base and trained policy lie those that follow
    the target a little less and keep more of the base's diversity and of what other prompts mean to it (weight
    interpolation, Wortsman et al. 2022, arXiv 2109.01903)."""
    keep_policies: Count = 3
    """Newest policies of the run that stay in the store, besides those that the panel measured."""
    prompts: str = "nano"
    """The task: `nano` for the nano world, `nano-emotional` for the same with emotional captions, `module:attribute` of
    another `Task`, or a JSON lines file of prompts; see `core.task`."""
    target_gap: Annotated[float, Field(ge=0, le=SCALE_MAX - SCALE_MIDDLE)] = 2.0
    """Least distance of a drawn target from the middle of the scale, per axis, in its points. Near the middle a group
    earns most where its samples are all alike: such targets teach to paint the middle whatever is asked for."""
    seed: Annotated[int, Field(ge=0, le=LIMITS.seed)] = 0
    """What all that a run draws follows from."""
    iterations: Count = 120
    """Rounds of rollout and update."""
    groups: Count = 8
    """Groups of one iteration."""
    num_generations: Annotated[int, Field(ge=2, le=LIMITS.images_per_call)] = 12
    """Trajectories of one group: the same prompt, target and noise window; `sampling.common_start` says whether they
    share their first noise."""
    max_concurrent_groups: Count = 2
    """Groups that are asked for at once: one is painted while the one before is judged."""
    workers: Count = 1
    """Processes that learn, on Ray; 1 learns in this process, without Ray."""
    patience: NotNegative = 1800.0
    """Seconds that the run waits for a service that is away before it stops."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    panel: PanelConfig = field(default_factory=PanelConfig)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.address and not self.policies:
            where = f"the generator at {self.address} reads its policies"
            raise inconsistent("policies", f"must name the address where {where}")
        sampling, objective = self.sampling, self.learner.objective
        if sampling.mode == "window" and sampling.sde_window_size < 1 and objective != "nft":
            limit = f"at least 1 with learner.objective {objective!r}"
            raise inconsistent("sampling.sde_window_size", f"is {sampling.sde_window_size}, it must be {limit}")
        return self


MAY_CHANGE = frozenset(
    {
        *("address", "policies", "keep_policies", "max_concurrent_groups", "workers", "patience", "iterations"),
        *(
            "final_strength",
            "panel.every",
            "learner.micro_batch",
            "learner.activation_gib",
            "learner.gradient_checkpointing",
            "learner.threads",
        ),
    }
)
"""Dotted keys that a run may be resumed with another value of: but for rounding they don't change what it learns."""

CONFIGS: Mapping[str, FlowGrpoConfig] = {
    # What made the embedded generator's policy. DiffusionNFT on the layers that read the text, which keeps a group's
    # diversity where windows lose it; no noisy steps, since it needs none. The continuous reward, since a small model's
    # groups hold few hits; a rank at which the adapter stays under 1 MB.
    "nano": FlowGrpoConfig(
        groups=12,
        num_generations=8,
        final_strength=0.65,
        sampling=SamplingConfig(sde_window_size=0, common_start=False),
        rewards=RewardConfig(shape="continuous", alignment=0.25),
        learner=LearnerConfig(
            rank=8,
            lora_alpha=16,
            target_modules=TEXT_SIDE,
            objective="nft",
            learning_rate=2e-3,
            beta=0.01,
            optimizer_steps=2,
        ),
        panel=PanelConfig(every=15),
    ),
    # Flow-GRPO itself, in a window. The clip range is that of a window, times 16: a log-probability is a mean over
    # 4,096 elements here, over 65,536 in the latent of a 512-pixel image.
    "nano-window": FlowGrpoConfig(
        name="nano-window",
        rewards=RewardConfig(shape="continuous", alignment=0.5),
        learner=LearnerConfig(
            rank=16, lora_alpha=32, learning_rate=1e-3, beta=0.01, clip_range=1.5e-4, optimizer_steps=2, micro_batch=16
        ),
    ),
    # The same with what keeps a group's diversity: no common start, the divergence known instead of sampled (of 4,096
    # latent elements as many nats in all as the authors' 1e-5 of 65,536), wins instead of distances, and prompts that
    # tell their feeling in words.
    "nano-grpo": FlowGrpoConfig(
        name="nano-grpo",
        prompts="nano-emotional",
        groups=12,
        num_generations=8,
        sampling=SamplingConfig(common_start=False),
        rewards=RewardConfig(shape="continuous", alignment=0.25, win_rate=True),
        learner=LearnerConfig(
            rank=16,
            lora_alpha=32,
            learning_rate=1e-3,
            beta=0.01,
            kl_mask_threshold=1.6e-4,
            optimizer_steps=2,
            micro_batch=16,
        ),
    ),
    # The paper's: groups of 8, 16 images a step, 1000 steps, nine of ten sampling steps noisy (the last never is).
    # Without guidance, where flow_grpo has 4.5.
    "sd35-medium": FlowGrpoConfig(
        name="sd35-medium",
        profile="sd35-medium",
        iterations=1000,
        groups=2,
        num_generations=8,
        sampling=SamplingConfig(mode="full"),
        # On one card of 80 GB beside generator and judge: 16 rows need 42 GiB without checkpointing, about 4 with it.
        learner=LearnerConfig(clip_range=1e-4, micro_batch=16, activation_gib=12.0, gradient_checkpointing=True),
        panel=PanelConfig(every=50),
    ),
}
"""The built-in configurations."""


_WINDOW = "sampling.sde_window_range"
_RENAMED = {
    "group_size": "num_generations",
    "concurrent_groups": "max_concurrent_groups",
    "sampling.kind": "sampling.sde_type",
    "sampling.level": "sampling.noise_level",
    "sampling.window_length": "sampling.sde_window_size",
    "sampling.window_from": f"{_WINDOW}[0]",
    "sampling.window_to": f"{_WINDOW}[1]",
    "rewards.form": "rewards.shape",
    "rewards.spread": "rewards.scale_rewards",
    "learner.alpha": "learner.lora_alpha",
    "learner.modules": "learner.target_modules",
    "learner.clip_norm": "learner.max_grad_norm",
    "learner.kl_weight": "learner.beta",
    "learner.nft_strength": "learner.nft_beta",
    "learner.inner_epochs": "learner.num_inner_epochs",
}
"""The keys that configurations and checkpoints once had."""


def load_config(source: str) -> FlowGrpoConfig:
    """A built-in configuration by name, or one from a TOML file (see the module's docstring).

    Raises:
        InvalidRequest: no such configuration or file, or keys that are unknown, of the wrong type or out of their
            ranges: a violation for each, by its dotted key.
    """
    return checked_profile(read_config(source))


def read_config(source: str) -> FlowGrpoConfig:
    """As `load_config`, before anything that the configuration names is opened."""
    base, changes = extended(source, CONFIGS, "config")
    return changed(base, present_keys(changes, base))


def with_changes(config: FlowGrpoConfig, changes: Mapping[str, Any]) -> FlowGrpoConfig:
    """The configuration with some keys replaced, in tables or by dotted key; raises as `load_config`."""
    return checked_profile(changed(config, present_keys(changes, config)))


def start_place(uri: str) -> tuple[PolicyStore, str]:
    """The store and the name of the policy that a run begins with.

    Raises:
        InvalidRequest: it is no folder in a store.
    """
    store, _, name = uri.rstrip("/").rpartition("/")
    if not store:
        raise InvalidRequest.of("start", f"is {uri!r}, it must be the folder of a policy in its store")
    return PolicyStore(store), name


def checked_profile(config: FlowGrpoConfig) -> FlowGrpoConfig:
    """The configuration itself; raises `InvalidRequest` where its profile is wrong."""
    load_profile(config.profile)
    return config


def present_keys(values: Mapping[str, Any], config: FlowGrpoConfig) -> dict[str, Any]:
    """Values of some keys by today's dotted ones, with a warning for each old one.

    Args:
        config: whose window counts where only one of its ends is among the values.
    """
    values = renamed(flat(values), _RENAMED)
    window = values.get(_WINDOW, config.sampling.sde_window_range)
    ends = [values.pop(f"{_WINDOW}[{end}]", None) for end in (0, 1)]
    if ends != [None, None]:
        values[_WINDOW] = [now if end is None else end for end, now in zip(ends, window, strict=True)]
    return values
