"""The configuration of a Flow-GRPO run: a frozen tree, the built-in ones, and TOML files that change some keys.

extends = "nano"
iterations = 50
learner.learning_rate = 1e-4
[rewards]
alignment = 0.0
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIDDLE
from emofeedback.domain.generation import NoiseWindow
from emofeedback.domain.limits import LIMITS
from emofeedback.profiles.overrides import changed, extended, load_profile
from emofeedback_trainer.core.config import flat, out_of_range, refuse
from emofeedback_trainer.core.rewards import RewardConfig
from emofeedback_trainer.evaluation.pairs import PANEL_PAIRS
from emofeedback_trainer.flow_grpo.learning import TEXT_SIDE, LearnerConfig

NANO = "nano"
"""Names the nano world's neutral captions instead of a file of prompts."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How trajectories are painted. Only noisy steps are trained; the others follow the ODE."""

    steps: int = 10
    """Denoising steps; the paper's."""
    guidance: float = 1.0
    """Classifier-free guidance scale in rollout and training; off, which halves the forwards."""
    kind: Literal["sde", "cps"] = "sde"
    """The stochastic step: see `NoiseWindow`."""
    level: float = 0.7
    """Its noise level."""
    mode: Literal["window", "full"] = "window"
    """A short window of noisy steps, or the paper's mode: all of them but the last, whose noise is too small."""
    window_length: int = 2
    """Noisy steps of a window; 0, all steps follow the ODE, where the objective is `nft`, which needs no noise."""
    window_from: int = 0
    """The earliest first step of a window; each group's is drawn from here to `window_to`."""
    window_to: int = 3
    """The latest first step of a window."""
    common_start: bool = True
    """All samples of a group start from one noise, so that what their rewards differ by is what the noisy steps did."""

    @property
    def windows(self) -> range:
        """Where a group's window may begin."""
        return range(1) if self.mode == "full" else range(self.window_from, self.window_to + 1)

    def window(self, first: int) -> NoiseWindow:
        """The noise window that begins at step `first`."""
        length = self.steps - 1 if self.mode == "full" else self.window_length
        return NoiseWindow(kind=self.kind, level=self.level, first=first, length=length)


@dataclass(frozen=True, kw_only=True)
class PanelConfig:
    """How often the held-out panel is measured, and how large it is."""

    every: int = 10
    """Iterations between two measurements; the first comes before any training, the last after it."""
    pairs: int = 16
    """Held-out pairs of prompt and target."""
    images: int = 2
    """Pictures a pair, at the same seeds each time."""


@dataclass(frozen=True, kw_only=True)
class FlowGrpoConfig:
    """One run."""

    name: str = "nano"
    """Of the run; its policies are called `<name>-<iteration>` and `<name>-final` (see `Versions.publish_final`)."""
    profile: str = "nano"
    """Name or TOML file of the profile whose generator learns and whose judge rewards."""
    address: str = ""
    """HOST:PORT of running services; empty: engines in this process. With it, `policies` names the very folder from
    which the generator there takes its own."""
    policies: str = ""
    """fsspec URI where adapters are published and the generator fetches them; empty: `policies` in the run's folder."""
    final_strength: float = 1.0
    """Share of the learned change in the final policy, in (0, 1]. Between base and trained policy lie those that follow
    the target a little less and keep more of the base's diversity and of what other prompts mean to it (weight
    interpolation, Wortsman et al. 2022, arXiv 2109.01903)."""
    keep_policies: int = 3
    """Newest policies of the run that stay in the store, besides those that the panel measured."""
    prompts: str = NANO
    """`nano` for the nano world's neutral captions, or a JSON lines file: see `conditions.read_training_prompts`."""
    target_gap: float = 2.0
    """Least distance of a drawn target from the middle of the scale, per axis, in its points. Near the middle a group
    earns most where its samples are all alike: such targets teach to paint the middle whatever is asked for."""
    seed: int = 0
    iterations: int = 120
    groups: int = 8
    """Groups of one iteration."""
    num_generations: int = 12
    """Trajectories of one group: the same prompt, target and noise window, another first noise each."""
    max_concurrent_groups: int = 2
    """Groups that are asked for at once: one is painted while the one before is judged."""
    workers: int = 1
    """Processes that learn, on Ray; 1 learns in this process, without Ray."""
    patience: float = 1800.0
    """Seconds that the run waits for a service that is away before it stops."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    rewards: RewardConfig = field(default_factory=RewardConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    panel: PanelConfig = field(default_factory=PanelConfig)


MAY_CHANGE = frozenset(
    {
        *("address", "policies", "keep_policies", "max_concurrent_groups", "workers", "patience", "iterations"),
        *("final_strength", "panel.every"),
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
        sampling=SamplingConfig(window_length=0, common_start=False),
        rewards=RewardConfig(form="continuous", alignment=0.25),
        learner=LearnerConfig(
            rank=8,
            alpha=16,
            modules=TEXT_SIDE,
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
        rewards=RewardConfig(form="continuous", alignment=0.5),
        learner=LearnerConfig(rank=16, alpha=32, learning_rate=1e-3, beta=0.01, clip_range=1.5e-4, optimizer_steps=2),
    ),
    # The paper's: groups of 8, 16 images a step, 1000 steps, all ten sampling steps noisy.
    "sd35-medium": FlowGrpoConfig(
        name="sd35-medium",
        profile="sd35-medium",
        iterations=1000,
        groups=2,
        num_generations=8,
        sampling=SamplingConfig(mode="full"),
        learner=LearnerConfig(clip_range=1e-4),
        panel=PanelConfig(every=50),
    ),
}
"""The built-in configurations."""


def load_config(source: str) -> FlowGrpoConfig:
    """A built-in configuration by name, or one from a TOML file (see the module's docstring).

    Raises:
        InvalidRequest: no such configuration or file, an unknown key, a value of the wrong type or out of its range;
            the dotted key is named.
    """
    return with_changes(*extended(source, CONFIGS, "config"))


def with_changes(config: FlowGrpoConfig, changes: Mapping[str, Any]) -> FlowGrpoConfig:
    """The configuration with some keys replaced, tables descended into; raises as `load_config`."""
    replaced = changed(config, changes, "")
    check_config(replaced)
    return replaced


def check_config(config: FlowGrpoConfig) -> None:
    """Every range, all at once.

    Raises:
        InvalidRequest: with one violation per field.
    """
    refuse(_problems(config))
    load_profile(config.profile)


def _problems(config: FlowGrpoConfig) -> Iterator[tuple[str, str]]:
    """Dotted keys that are out of their ranges, each with what is wrong."""
    values = flat(config)
    must = partial(out_of_range, values)
    most = LIMITS.images_per_call
    yield from must(
        lambda name: bool(_NAME.fullmatch(name)), "letters, digits, '.', '_', '-', at most 100 of them", "name"
    )
    yield from must(
        lambda n: n >= 1, "at least 1", *("iterations", "groups", "keep_policies", "max_concurrent_groups", "workers")
    )
    yield from must(lambda n: 2 <= n <= most, f"in [2, {most}]", "num_generations")
    yield from must(lambda n: 0 <= n <= LIMITS.seed, f"in [0, {LIMITS.seed}]", "seed")
    widest = SCALE_MAX - SCALE_MIDDLE
    yield from must(lambda x: 0 <= x <= widest, f"in [0, {widest:g}]", "target_gap")
    yield from must(lambda x: 0 <= x < math.inf, "0 or a finite number above", "patience")
    yield from must(lambda x: 0 < x <= 1, "in (0, 1]", "final_strength")
    if config.address and not config.policies:
        yield "policies", f"must name the address where the generator at {config.address} reads its policies"
    yield from must(lambda n: n >= 1, "at least 1", "panel.every")
    yield from must(lambda n: 1 <= n <= len(PANEL_PAIRS), f"in [1, {len(PANEL_PAIRS)}]", "panel.pairs")
    yield from must(lambda n: 1 <= n <= most, f"in [1, {most}]", "panel.images")
    yield from must(lambda form: form in ("step", "continuous"), "'step' or 'continuous'", "rewards.form")
    yield from must(lambda x: 0 < x < math.inf, "above 0", "rewards.threshold")
    weights = ("rewards.valence", "rewards.arousal", "rewards.alignment")
    yield from must(lambda x: 0 <= x < math.inf, "0 or a finite number above", *weights)
    if not any(values[key] for key in weights):
        yield "rewards", "has no weight above 0"

    sampling = config.sampling
    yield from must(lambda n: 2 <= n <= LIMITS.steps, f"in [2, {LIMITS.steps}]", "sampling.steps")
    yield from must(lambda x: 1 <= x <= LIMITS.guidance, f"in [1, {LIMITS.guidance:g}]", "sampling.guidance")
    yield from must(lambda kind: kind in ("sde", "cps"), "'sde' or 'cps'", "sampling.kind")
    low, high = LIMITS.smallest_noise_level, LIMITS.sde_noise_level
    if sampling.kind == "cps":
        high = LIMITS.cps_noise_level
    yield from must(lambda x: low <= x <= high, f"in [{low:g}, {high:g}] for {sampling.kind}", "sampling.level")
    yield from must(lambda mode: mode in ("window", "full"), "'window' or 'full'", "sampling.mode")
    if sampling.mode == "window":
        fewest = 0 if config.learner.objective == "nft" else 1
        needed = f"at least {fewest} with learner.objective {config.learner.objective!r}"
        yield from must(lambda n: n >= fewest, needed, "sampling.window_length")
        yield from must(lambda n: n >= 0, "0 or above", "sampling.window_from")
        last = sampling.steps - 1 - sampling.window_length
        limit = f"in [{sampling.window_from}, {last}]: from window_from, and the last step is never noisy"
        yield from must(lambda n: sampling.window_from <= n <= last, limit, "sampling.window_to")
