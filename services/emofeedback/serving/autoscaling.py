"""How many replicas an application should have: by the work that waits, not by the calls.

A call of one image and a call of 64 are one call each to Ray Serve, and 14 image-steps against 12,800 to the replica
that paints them. So replicas report what is unfinished in them, in the unit in which it costs (image-steps in the
generator, tokens in the judge), and `WorkPolicy` wants as many replicas as bring the share of each down to a target.
Serve calls a replica's `record_autoscaling_stats` for that, and the policy in its controller. Delays, bounds and the
first replica after none stay Serve's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

IMAGE_STEPS = "image_steps"
"""Denoising steps of images that are not done yet, in a generator."""
TOKENS = "tokens"
"""Tokens that the conversations of a judge still need: those it reads, and the most that it may reply."""


class Context(Protocol):
    """What a policy looks at of `ray.serve.config.AutoscalingContext`; figures are means over the look-back time."""

    @property
    def aggregated_metrics(self) -> Any:
        """What the running replicas reported: `{metric: {replica: value}}`; None or empty where none did yet."""
        ...

    @property
    def total_num_requests(self) -> float:
        """Calls under way or waiting for a replica."""
        ...

    @property
    def total_queued_requests(self) -> float:
        """Those that wait: no replica knows of their work yet."""
        ...

    @property
    def target_num_replicas(self) -> int:
        """The present decision."""
        ...


def replicas_for(work: Sequence[float], *, waiting_calls: float, calls: float, target: float) -> int:
    """Replicas that bring the unfinished work of each down to `target`.

    Args:
        work: unfinished in each replica, >= 0, not empty.
        waiting_calls: calls that no replica has taken yet. Each counts as much as the mean of those that are taken.
        calls: all calls, the waiting ones included.
        target: work that one replica should have, > 0, in the same unit.

    Returns:
        0 only where there are no calls: a replica that has any is not given up.
    """
    known = sum(work)
    taken = max(calls - waiting_calls, 1.0)
    total = known + waiting_calls * known / taken
    return max(math.ceil(total / target), 1 if calls > 0 else 0)


class WorkPolicy:
    """A Serve autoscaling policy (`AutoscalingPolicy.policy_function`)."""

    def __init__(self, *, metric: str, target: float) -> None:
        """`metric` is the key under which replicas report; `target` the work that one should have."""
        self._metric = metric
        self._target = target

    def __call__(self, context: Context) -> tuple[int, dict[str, Any]]:
        """The number of replicas wanted, and no state."""
        reported = (context.aggregated_metrics or {}).get(self._metric)
        if not reported:
            # A new controller, or replicas that have only begun: no reason to change anything.
            return context.target_num_replicas, {}
        wanted = replicas_for(
            list(reported.values()),
            waiting_calls=context.total_queued_requests,
            calls=context.total_num_requests,
            target=self._target,
        )
        return wanted, {}
