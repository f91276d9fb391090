"""What one iteration's rollout looks like in numbers: a line of the curve. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emofeedback_trainer.core.rewards import RewardConfig
from emofeedback_trainer.evaluation.metrics import Array, correlation
from emofeedback_trainer.flow_grpo.types import Rollout, ScoredGroup


def rollout_metrics(rollout: Rollout, config: RewardConfig) -> dict[str, float]:
    """Rewards before normalization, the judge's errors and correlations, and how far a group spreads.

    Errors and spreads are in points of the 1-9 scale. Correlation is of the judge's value with the target, over all
    samples: a policy that aims at the middle of the plane lowers its error too, but not without losing this.
    """
    groups = rollout.groups
    means = {
        name: float(np.mean([sample.rewards[name] for group in groups for sample in group.samples]))
        for name in config.weights
    }
    metrics = {"reward": sum(weight * means[name] for name, weight in config.weights.items())}
    metrics |= {f"reward_{name}": mean for name, mean in means.items()}
    for axis in ("valence", "arousal"):
        judged = _judged(groups, axis)
        targets = np.array([[getattr(group.condition.target, axis)] for group in groups]).repeat(judged.shape[1], 1)
        metrics[f"judge_{axis}_error"] = float(np.abs(judged - targets).mean())
        metrics[f"judge_{axis}_correlation"] = correlation(judged.ravel(), targets.ravel())
        metrics[f"spread_{axis}"] = float(judged.std(axis=1).mean())
    return metrics


def _judged(groups: Sequence[ScoredGroup], axis: str) -> Array:
    """Shape (groups, samples)."""
    return np.array([[getattr(sample.assessment, axis) for sample in group.samples] for group in groups])
