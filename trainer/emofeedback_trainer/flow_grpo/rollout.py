"""One iteration's rollout: groups are generated, and each picture is judged while the next ones are under way.

What comes out depends on the plan and the policy alone, not on the order in which pictures arrive: groups and samples
are in the plan's order. A group is whole or it is dropped and counted; a service that is away is waited for, so no
failure ever turns into a reward.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing

from emofeedback.concurrency import Channel, both, cancel
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Judge
from emofeedback.domain.generation import Generator, GroupStarted, Trajectory, TrajectoryRequest
from emofeedback.domain.reasoning import Imagination
from emofeedback.domain.tensors import Tensor, to_torch
from emofeedback_trainer.core.rewards import RewardConfig, RewardedImage, rewards
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig
from emofeedback_trainer.flow_grpo.learning import TrainingIntegrityError
from emofeedback_trainer.flow_grpo.outage import Outage
from emofeedback_trainer.flow_grpo.prompts import GroupPlan
from emofeedback_trainer.flow_grpo.types import Rollout, ScoredGroup, ScoredTrajectory
from emofeedback_trainer.flow_grpo.versions import PolicyVersion


async def roll_out(
    plans: Sequence[GroupPlan],
    *,
    iteration: int,
    version: PolicyVersion,
    config: FlowGrpoConfig,
    generator: Generator,
    judge: Judge,
    outage: Outage,
    on_group: Callable[[], None] = lambda: None,
) -> Rollout:
    """Generated and judged groups of these plans.

    Args:
        on_group: is told of every group that is done, or dropped.

    Raises:
        TrainingIntegrityError: the generator worked with another model or policy than it was asked for.
        EmoFeedbackError: a service was away for longer than the run's patience, or refused the request.
    """
    began = time.monotonic()
    room = asyncio.Semaphore(config.max_concurrent_groups)

    async def outcome(plan: GroupPlan) -> ScoredGroup | str:
        async with room:
            group = await outage.retry_until(lambda: _group(plan, version, config, generator, judge))
        on_group()
        return group

    tasks = [asyncio.create_task(outcome(plan)) for plan in plans]
    try:
        outcomes = await asyncio.gather(*tasks)
    finally:
        await cancel(*tasks)
    return Rollout(
        iteration=iteration,
        policy=version.name,
        groups=tuple(group for group in outcomes if isinstance(group, ScoredGroup)),
        dropped=Counter(reason for reason in outcomes if isinstance(reason, str)),
        seconds=time.monotonic() - began,
    )


async def _group(
    plan: GroupPlan, version: PolicyVersion, config: FlowGrpoConfig, generator: Generator, judge: Judge
) -> ScoredGroup | str:
    """One whole group, or why there is none; of a fused policy, painted from one of the judge's imaginations."""
    emotion = None
    if version.fused:
        imagined = await judge.reason(Imagination(prompt=plan.condition.prompt, target=plan.condition.target))
        emotion = imagined.chosen([plan.seeds[0] % imagined.variations])
    request = TrajectoryRequest(
        prompt=plan.condition.caption,
        seeds=plan.seeds,
        start_seed=plan.start_seed,
        window=config.sampling.window(plan.window_first),
        steps=config.sampling.steps,
        guidance=config.sampling.guidance,
        policy=version.name,
        emotion=emotion,
    )
    queue: Channel[Trajectory] = Channel()
    starts: list[GroupStarted] = []
    painted: dict[int, Trajectory] = {}

    async def paint() -> None:
        async with aclosing(generator.sample_trajectories(request)) as events:
            async for event in events:
                if isinstance(event, GroupStarted):
                    _require_version(event, version)
                    starts.append(event)
                elif isinstance(event, Trajectory):
                    painted[event.index] = event
                    queue.send(event)
        queue.close()

    async def arrivals() -> AsyncIterator[tuple[int, bytes]]:
        async for together in queue:
            for trajectory in together:
                yield trajectory.index, trajectory.image

    async def assess() -> dict[int, AssessmentOutcome]:
        async with aclosing(judge.assess_stream(arrivals())) as outcomes:
            return {index: outcome async for index, outcome in outcomes}

    _, outcomes = await both(paint(), assess())
    if len(starts) != 1 or not painted.keys() == outcomes.keys() == set(range(len(plan.seeds))):
        return "incomplete group"
    trajectories = [painted[index] for index in range(len(plan.seeds))]
    if not all(_finite(trajectory) for trajectory in trajectories):
        return "non-finite trajectory"
    assessments = [outcome for _, outcome in sorted(outcomes.items()) if isinstance(outcome, Assessment)]
    if len(assessments) < len(trajectories):
        return "unreadable assessment"
    if not all(math.isfinite(seen.valence) and math.isfinite(seen.arousal) for seen in assessments):
        return "non-finite assessment"
    alignments = await judge.score([trajectory.image for trajectory in trajectories], plan.condition.prompt)
    if not all(math.isfinite(alignment) for alignment in alignments):
        return "non-finite alignment"
    seen = [
        RewardedImage(
            image=trajectory.image,
            prompt=plan.condition.prompt,
            target=plan.condition.target,
            assessment=assessment,
            alignment=alignment,
        )
        for trajectory, assessment, alignment in zip(trajectories, assessments, alignments, strict=True)
    ]
    # In a thread: a reward of one's own may look long, and the other groups go on.
    earned = await asyncio.to_thread(_rewards_of, seen, config.rewards)
    return ScoredGroup(
        condition=plan.condition,
        window=request.window,
        guidance=request.guidance,
        started=starts[0],
        samples=tuple(
            ScoredTrajectory(trajectory=trajectory, assessment=one.assessment, alignment=one.alignment, rewards=by_name)
            for trajectory, one, by_name in zip(trajectories, seen, earned, strict=True)
        ),
    )


def _rewards_of(seen: Sequence[RewardedImage], config: RewardConfig) -> list[Mapping[str, float]]:
    return [rewards(one, config) for one in seen]


def _require_version(started: GroupStarted, version: PolicyVersion) -> None:
    """A trajectory of another policy would be learned from as if it were this one's."""
    asked = (version.base.name, version.base.digest, version.name, version.digest)
    model = started.model
    found = (model.name, model.digest, model.policy, started.policy_digest)
    if found != asked:
        raise TrainingIntegrityError(
            f"asked for a group of {' '.join(asked)}, the generator worked with {' '.join(found)}"
        )


def _finite(trajectory: Trajectory) -> bool:
    tensors: Sequence[Tensor] = (trajectory.latents, trajectory.log_probabilities, trajectory.final)
    return all(bool(to_torch(tensor).isfinite().all()) for tensor in tensors)
