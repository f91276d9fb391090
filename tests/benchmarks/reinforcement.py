"""Speed of Flow-GRPO's two halves on the nano models, each figure beside a peer measured in the same run.

Rollouts are those of a run: trajectories from the engine, judged and scored. Windows against the paper's mode (all
steps noisy and trained, every sample from a noise of its own), rewards streamed against all at the end, one learning
process against two; and the update against that of flow_grpo's own code, where `EMOFEEDBACK_FLOW_GRPO` names a clone of
it (`reference_learner`). As in `speed.py` the two sides of a comparison take turns, so trust the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from reference_learner import CLONE, ReferenceLearner, flow_grpo_clone
from speed import Row, alternate, show

from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import (
    GenerationEvent,
    GenerationRequest,
    Generator,
    ModelInfo,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.in_process import silence_libraries
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.flow_grpo.batches import rollout_advantages
from emofeedback_trainer.flow_grpo.components import engines, load_learner
from emofeedback_trainer.flow_grpo.config import CONFIGS, FlowGrpoConfig
from emofeedback_trainer.flow_grpo.distributed import distributed_learner
from emofeedback_trainer.flow_grpo.outage import Outage
from emofeedback_trainer.flow_grpo.prompts import plan
from emofeedback_trainer.flow_grpo.rollout import roll_out
from emofeedback_trainer.flow_grpo.trainer import PolicyLearner
from emofeedback_trainer.flow_grpo.types import Rollout
from emofeedback_trainer.flow_grpo.versions import PolicyVersion, Versions


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Engines with one published policy."""

    generator: Generator
    judge: Judge
    version: PolicyVersion

    async def roll_out(self, config: FlowGrpoConfig, generator: Generator | None = None) -> Rollout:
        """One iteration's rollout, always of the same plan."""
        plans = plan(load_task(config.prompts).training, config, 0)
        return await roll_out(
            plans,
            iteration=0,
            version=self.version,
            config=config,
            generator=generator or self.generator,
            judge=self.judge,
            outage=Outage(0.0, lambda event: None),
        )


class PaintAllFirst:
    """A generator that holds its trajectories back until all groups are painted: nothing is judged meanwhile."""

    def __init__(self, generator: Generator, groups: int) -> None:
        self._generator = generator
        self._unpainted = groups
        self._painted = asyncio.Event()

    async def sample_trajectories(self, request: TrajectoryRequest) -> AsyncGenerator[TrajectoryEvent, None]:
        held: list[Trajectory] = []
        async for event in self._generator.sample_trajectories(request):
            if isinstance(event, Trajectory):
                held.append(event)
            else:
                yield event
        self._unpainted -= 1
        if not self._unpainted:
            self._painted.set()
        await self._painted.wait()
        for trajectory in held:
            yield trajectory

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        return self._generator.generate(request)

    async def model(self) -> ModelInfo:
        return await self._generator.model()

    async def policies(self) -> Sequence[str]:
        return await self._generator.policies()


async def rolling_out(bench: Bench, windowed: FlowGrpoConfig, full: FlowGrpoConfig, runs: int) -> Row:
    images = windowed.groups * windowed.num_generations
    ours, peer = await alternate(lambda: bench.roll_out(windowed), lambda: bench.roll_out(full), runs)
    return Row(
        what="rollout, images/s: window of 2 noisy steps / all of them",
        ours=f"{images / ours:.2f}",
        peer=f"{images / peer:.2f}",
        ratio=f"{peer / ours:.2f}",
    )


async def streaming_rewards(bench: Bench, config: FlowGrpoConfig, runs: int) -> Row:
    images = config.groups * config.num_generations
    at_once = replace(config, max_concurrent_groups=config.groups)

    async def batched() -> None:
        await bench.roll_out(at_once, PaintAllFirst(bench.generator, config.groups))

    ours, peer = await alternate(lambda: bench.roll_out(config), batched, runs)
    return Row(
        what="rollout, images/s: judged while painting / paint all, then judge all",
        ours=f"{images / ours:.2f}",
        peer=f"{images / peer:.2f}",
        ratio=f"{peer / ours:.2f}",
    )


async def learning(windowed: Rollout, full: Rollout, ours: FlowGrpoConfig, peer: FlowGrpoConfig, runs: int) -> Row:
    images = ours.groups * ours.num_generations
    fast, slow = await alternate(
        updates(load_learner(ours), windowed, ours), updates(load_learner(peer), full, peer), runs
    )
    return Row(
        what="learning, images/s: window of 2 steps trained / all of them",
        ours=f"{images / fast:.2f}",
        peer=f"{images / slow:.2f}",
        ratio=f"{slow / fast:.2f}",
    )


async def learning_in_two(rollout: Rollout, config: FlowGrpoConfig, runs: int) -> Row:
    images = config.groups * config.num_generations
    with distributed_learner(partial(load_learner, config), workers=2) as two:
        fast, slow = await alternate(
            updates(two, rollout, config), updates(load_learner(config), rollout, config), runs
        )
    return Row(
        what="learning, images/s: two processes / one",
        ours=f"{images / fast:.2f}",
        peer=f"{images / slow:.2f}",
        ratio=f"{slow / fast:.2f}",
    )


def reference_configs(config: FlowGrpoConfig) -> tuple[FlowGrpoConfig, FlowGrpoConfig]:
    """Two groups of eight pictures, guidance, rank 32, two steps of the optimizer: all steps noisy, and a window."""
    full = replace(
        config,
        groups=2,
        num_generations=8,
        sampling=replace(config.sampling, guidance=4.5, mode="full", common_start=False),
        learner=replace(config.learner, rank=32, lora_alpha=64, optimizer_steps=2),
    )
    return full, replace(full, sampling=replace(full.sampling, mode="window"))


async def against_flow_grpo(
    clone: Path, configs: Sequence[FlowGrpoConfig], rollouts: Sequence[Rollout], threads: int, runs: int
) -> list[Row]:
    """The update on the rollouts of `reference_configs`, the peer always on the first."""
    reference, images = ReferenceLearner(clone, configs[0]), configs[0].groups * configs[0].num_generations

    def peer() -> None:
        torch.set_num_threads(threads)  # as many as ours
        reference.update(rollouts[0])

    rows = []
    for what, config, rollout in zip(("all steps", "window of 2"), configs, rollouts, strict=True):
        learner = load_learner(replace(config, learner=replace(config.learner, threads=threads)))
        fast, slow = await alternate(updates(learner, rollout, config), partial(asyncio.to_thread, peer), runs)
        rows.append(
            Row(
                what=f"learning, images/s: {what} / flow_grpo, all steps",
                ours=f"{images / fast:.2f}",
                peer=f"{images / slow:.2f}",
                ratio=f"{slow / fast:.2f}",
            )
        )
    return rows


def updates(learner: PolicyLearner, rollout: Rollout, config: FlowGrpoConfig) -> Callable[[], Awaitable[object]]:
    """Updates as a run has them: each by the learner of the policy that generated the rollout. After one it is another
    policy's, which would not find the generator's log-probabilities and compute them anew."""
    advantages = rollout_advantages(rollout, config.rewards)
    start = learner.state()

    def update() -> None:
        learner.load_state(start)
        learner.update(rollout, advantages)

    return partial(asyncio.to_thread, update)


async def measure(runs: int, groups: int, num_generations: int) -> list[Row]:
    windowed = replace(CONFIGS["nano-window"], groups=groups, num_generations=num_generations)
    full = replace(windowed, sampling=replace(windowed.sampling, mode="full", common_start=False))
    threads = torch.get_num_threads()  # before an engine has set them
    clone, compared = flow_grpo_clone(), reference_configs(windowed)
    with tempfile.TemporaryDirectory(prefix="emofeedback-bench-") as store:
        async with engines(windowed, store) as (generator, judge):
            versions = Versions(config=windowed, store=store, base=await generator.model())
            learner = load_learner(windowed)
            bench = Bench(
                generator=generator, judge=judge, version=versions.publish(0, learner.adapter(averaged=False))
            )
            rows = [await rolling_out(bench, windowed, full, runs), await streaming_rewards(bench, windowed, runs)]
            rollouts = await bench.roll_out(windowed), await bench.roll_out(full)
            of_peer = [await bench.roll_out(config) for config in compared] if clone else []
    # The engines are gone: learning has the machine for itself.
    rows.append(await learning(*rollouts, windowed, full, runs))
    rows.append(await learning_in_two(rollouts[0], windowed, runs))
    if clone:
        rows += await against_flow_grpo(clone, compared, of_peer, threads, runs)
    else:
        print(f"skipped: the update of flow_grpo's own code; {CLONE} names the folder of a clone", file=sys.stderr)
    return rows


def main() -> None:
    """Measure and print a Markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="counted turns of each comparison (default %(default)s)")
    parser.add_argument("--groups", type=int, default=4, help="of a rollout (default %(default)s)")
    parser.add_argument("--num-generations", type=int, default=8, help="trajectories of a group (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    silence_libraries()
    show(asyncio.run(measure(options.runs, options.groups, options.num_generations)), as_json=options.json)


if __name__ == "__main__":
    main()
