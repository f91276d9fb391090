"""The run: generate and judge, learn, save, publish; again and again.

After every iteration the learner's state is saved, and only what is saved is published. So a run that is killed at any
point goes on from its last whole iteration, publishes the same adapter under the same name again, and draws the batch
that it would have drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition
from emofeedback.domain.generation import Generator, ModelInfo
from emofeedback.domain.training import Alarm, IterationDone, PanelMeasured, PolicyPublished, RunState
from emofeedback.observability.tracing import detached_span
from emofeedback.profiles.overrides import flat
from emofeedback_trainer.core.rewards import load_reward
from emofeedback_trainer.core.run_files import numbers
from emofeedback_trainer.core.task import TrainingPrompt, load_task
from emofeedback_trainer.evaluation.panel import Panel
from emofeedback_trainer.evaluation.reward_hacking import alarm
from emofeedback_trainer.flow_grpo.batches import rollout_advantages
from emofeedback_trainer.flow_grpo.checkpoint import (
    Checkpoint,
    load_checkpoint,
    require_same_config,
    require_same_models,
    save_checkpoint,
)
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig
from emofeedback_trainer.flow_grpo.events import (
    GroupJudged,
    RolloutPainted,
    RunEvent,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
)
from emofeedback_trainer.flow_grpo.folder import RunFolder
from emofeedback_trainer.flow_grpo.learning import UpdateMetrics
from emofeedback_trainer.flow_grpo.metrics import rollout_metrics
from emofeedback_trainer.flow_grpo.outage import Outage
from emofeedback_trainer.flow_grpo.prompts import plan
from emofeedback_trainer.flow_grpo.rollout import roll_out
from emofeedback_trainer.flow_grpo.start import Start, read_start
from emofeedback_trainer.flow_grpo.types import Rollout
from emofeedback_trainer.flow_grpo.versions import PolicyVersion, Versions

_LARGEST_DRIFT = 1e-4
"""Between log-probabilities of generator and learner. Other kernels alone give 3e-5; an adapter that the generator
does not really work with gives as much after one update, and ever more."""


class PolicyLearner(Protocol):
    """What a run needs of its learner; `learner.Learner` is the one in this process."""

    def update(self, rollout: Rollout, advantages: list[list[float]]) -> UpdateMetrics:
        """Learns from one rollout."""
        ...

    def adapter(self, *, averaged: bool) -> Mapping[str, Tensor]:
        """The policy's weights, or their running average."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """Everything that a checkpoint needs of it."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a checkpoint."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished run leaves behind."""

    policy: str
    """Name of the final policy: the running average of the weights."""
    digest: str
    seconds: float
    """All starts of the run together."""


def prepare(
    config: FlowGrpoConfig, files: RunFolder, *, resume: bool
) -> tuple[tuple[TrainingPrompt, ...], Checkpoint | None]:
    """What a run starts from: its prompts, and the checkpoint of the run in the folder. Nothing is written.

    Raises:
        InvalidRequest: the folder, the prompts, a reward of one's own, or a configuration that differs from that of the
            run in the folder.
        FailedPrecondition: the checkpoint can't be read.
    """
    files.require_free(resume=resume)
    training_prompts = load_task(config.prompts).training
    if config.rewards.function:
        load_reward(config.rewards.function)
    checkpoint = load_checkpoint(files.checkpoints)
    if checkpoint is not None:
        require_same_config(checkpoint, config)
    return training_prompts, checkpoint


async def train(
    config: FlowGrpoConfig,
    folder: Path,
    *,
    generator: Generator,
    judge: Judge,
    learner: PolicyLearner,
    panel: Panel,
    resume: bool = False,
    on_event: Callable[[RunEvent], None] = lambda event: None,
) -> RunResult:
    """Runs to the last iteration, everything kept in `folder`; with `resume`, from the last checkpoint on.

    Cancelling it leaves the last checkpoint.

    Raises:
        InvalidRequest: as `prepare`.
        FailedPrecondition: as `prepare`, or another generator or judge than the run began with.
        TrainingIntegrityError: what was learned from is not what the policy generated.
        ResourceExhausted: the disk is full.
        EmoFeedbackError: a service was away for longer than the run's patience.
    """
    files = RunFolder(folder)
    training_prompts, checkpoint = prepare(config, files, resume=resume)
    files.keep_config(config)
    run = _Run(config, files, training_prompts, generator, judge, learner, panel, on_event)
    try:
        return await run.from_checkpoint(checkpoint)
    except asyncio.CancelledError:
        run.end(RunState.CANCELED, "stopped; --resume goes on")
        raise
    except Exception as error:
        on_event(RunFailed(message=str(error)))
        run.end(RunState.FAILED, str(error))
        raise


class _Run:
    """One start of a run."""

    def __init__(
        self,
        config: FlowGrpoConfig,
        files: RunFolder,
        training_prompts: tuple[TrainingPrompt, ...],
        generator: Generator,
        judge: Judge,
        learner: PolicyLearner,
        panel: Panel,
        on_event: Callable[[RunEvent], None],
    ) -> None:
        self._config = config
        self._files = files
        self._training_prompts = training_prompts
        self._generator = generator
        self._judge = judge
        self._learner = learner
        self._panel = panel
        self._on_event = on_event
        self._outage = Outage(config.patience, self._away_or_back)
        self._iteration = 0
        self._seconds = 0.0

    async def from_checkpoint(self, checkpoint: Checkpoint | None) -> RunResult:
        base = await self._outage.retry_until(self._generator.model)
        judge = await self._outage.retry_until(self._judge.model)
        if checkpoint is None:
            self._save(base, judge)
        else:
            require_same_models(checkpoint, base, judge)
            self._learner.load_state(checkpoint.state)
            self._iteration, self._seconds = checkpoint.iteration, checkpoint.seconds
        self._files.cut_back(self._iteration)
        self._on_event(RunStarted(iteration=self._iteration, iterations=self._config.iterations))
        self._set_status(RunState.RUNNING, "")
        store = self._config.policies or self._files.policies
        versions = Versions(config=self._config, store=store, base=base, start=await self._start(base, judge))
        while self._iteration < self._config.iterations:
            with detached_span("flow-grpo iteration", run=self._config.name, iteration=self._iteration + 1):
                version = await self._published(versions.publish, averaged=False)
                if self._iteration % self._config.panel.every == 0:
                    await self._measure(version)
                await self._iterate(version, judge)
                self._save(base, judge)
            await asyncio.to_thread(versions.forget, self._iteration)
        final = await self._published(versions.publish_final, averaged=True)
        await self._measure(final)
        return self._finish(final, judge)

    async def _start(self, base: ModelInfo, judge: ModelInfo) -> Start | None:
        """The policy that the run begins with; raises FailedPrecondition where it is of other models."""
        if not self._config.start:
            return None
        start = await asyncio.to_thread(read_start, self._config.start)
        if start.base.digest != base.digest:
            raise FailedPrecondition(
                f"start: the policy was made for {start.base.name} ({start.base.digest}), "
                f"this generator is {base.name} ({base.digest})"
            )
        if start.fused is not None and start.fused.judge.digest != judge.digest:
            raise FailedPrecondition(
                f"start: the policy reads the emotion tokens of {start.fused.judge.name} "
                f"({start.fused.judge.digest}), this judge is {judge.name} ({judge.digest})"
            )
        return start

    async def _iterate(self, version: PolicyVersion, judge: ModelInfo) -> None:
        """One rollout and one update."""
        began = time.monotonic()
        rollout = await self._roll_out(version)
        self._on_event(RolloutPainted(iteration=self._iteration + 1, rollout=rollout))
        if await self._outage.retry_until(self._judge.model) != judge:
            raise FailedPrecondition(f"the judge is not {judge.name} ({judge.digest}) any more: it is pinned for a run")
        if not rollout.groups:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in rollout.dropped.items())
            raise FailedPrecondition(f"iteration {self._iteration + 1}: no group could be learned from ({reasons})")
        rewards = self._config.rewards
        advantages = rollout_advantages(rollout, rewards)
        update = asdict(await asyncio.to_thread(self._learner.update, rollout, advantages))
        seconds = time.monotonic() - began
        self._iteration += 1
        self._seconds += seconds
        images = sum(len(group.samples) for group in rollout.groups)
        metrics: dict[str, float | str] = {
            "iteration": self._iteration,
            "seconds": round(seconds, 2),
            "images_per_second": round(images / rollout.seconds, 2),
            **rollout_metrics(rollout, rewards),
            **update,
            "groups_dropped": update["groups_dropped"] + sum(rollout.dropped.values()),
            "policy": version.name,
        }
        self._files.add_iteration(metrics)
        self._on_event(IterationDone(iteration=self._iteration, metrics=numbers(metrics)))
        if update["log_probability_drift"] > _LARGEST_DRIFT:
            self._on_event(Alarm(iteration=self._iteration, text=_drift_text(update["log_probability_drift"])))

    async def _roll_out(self, version: PolicyVersion) -> Rollout:
        config = self._config
        plans = plan(self._training_prompts, config, self._iteration)
        done = iter(range(1, len(plans) + 1))
        return await roll_out(
            plans,
            iteration=self._iteration,
            version=version,
            config=config,
            generator=self._generator,
            judge=self._judge,
            outage=self._outage,
            on_group=lambda: self._on_event(GroupJudged(iteration=self._iteration, done=next(done), groups=len(plans))),
        )

    async def _measure(self, version: PolicyVersion) -> None:
        """The held-out panel, once after so many iterations; its pictures stay in `panel/`."""
        history = self._files.measurements()
        if history and history[-1]["iteration"] == self._iteration:
            return
        pictures = self._files.panel / f"{self._iteration:06d}"
        measured = await self._outage.retry_until(
            lambda: self._panel.measure(
                self._generator, self._judge, version.name, imagine=version.fused, folder=pictures
            )
        )
        line: dict[str, float | str] = {"iteration": self._iteration, **measured.to_line()}
        line["alarm"] = alarm([*history, line])
        self._files.add_measurement(line)
        self._on_event(PanelMeasured(iteration=self._iteration, metrics=numbers(line)))
        if line["alarm"]:
            self._on_event(Alarm(iteration=self._iteration, text=str(line["alarm"])))

    async def _published(
        self, publish: Callable[[int, Mapping[str, Tensor]], PolicyVersion], *, averaged: bool
    ) -> PolicyVersion:
        version = await asyncio.to_thread(publish, self._iteration, self._learner.adapter(averaged=averaged))
        self._on_event(PolicyPublished(iteration=self._iteration, policy=version.name))
        return version

    def _save(self, base: ModelInfo, judge: ModelInfo) -> None:
        checkpoint = Checkpoint(
            iteration=self._iteration,
            seconds=self._seconds,
            config=flat(self._config),
            generator=base,
            judge=judge,
            state=self._learner.state(),
        )
        save_checkpoint(self._files.checkpoints, checkpoint)
        self._set_status(RunState.RUNNING, "")

    def _finish(self, final: PolicyVersion, judge: ModelInfo) -> RunResult:
        result = {
            "command": "emofeedback-train flow-grpo --config config.toml --out DIR",
            "models": {
                "generator": {"name": final.base.name, "digest": final.base.digest, "policy": final.name},
                "judge": {"name": judge.name, "digest": judge.digest},
            },
            "policy": final.name,
            "policy_digest": final.digest,
            "iterations": self._iteration,
            "seconds": round(self._seconds, 1),
        }
        self._files.finish(result)
        self._set_status(RunState.FINISHED, f"the policy is {final.name}")
        self._on_event(RunFinished(policy=final.name, digest=final.digest))
        return RunResult(policy=final.name, digest=final.digest, seconds=self._seconds)

    # --- how the run stands ----------------------------------------------------------------------------------------

    def _set_status(self, state: RunState, message: str) -> None:
        self._files.set_status(state, self._iteration, self._config.iterations, message)

    def end(self, state: RunState, message: str) -> None:
        """Says why the run stopped, as far as the disk lets it."""
        with contextlib.suppress(EmoFeedbackError):
            self._set_status(state, message)

    def _away_or_back(self, event: RunPaused | RunResumed) -> None:
        if isinstance(event, RunPaused):
            self._set_status(RunState.PAUSED, event.reason)
        else:
            self._set_status(RunState.RUNNING, "")
        self._on_event(event)


def _drift_text(drift: float) -> str:
    return f"generator and learner differ by {drift:.1e} in log-probability: do both have the same weights?"
