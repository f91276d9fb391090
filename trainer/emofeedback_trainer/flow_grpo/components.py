"""What a run works with: generator and judge in this process or at an address, and the learner's own transformer.

Everything heavy is loaded when these functions are called, before any event loop runs, so that Ctrl-C ends it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial

import torch
from diffusers import SD3Transformer2DModel

from emofeedback.client.aio import AsyncClient, AsyncServices
from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import Generator
from emofeedback.domain.limits import TOKEN_VARIABLE
from emofeedback.generator.preflight import INDEX
from emofeedback.in_process import local
from emofeedback.profiles.overrides import load_profile
from emofeedback.profiles.profile import JudgeSettings, Profile
from emofeedback.storage.checkpoints import check_device, fetch
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.evaluation.panel import Panel
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig
from emofeedback_trainer.flow_grpo.distributed import distributed_learner
from emofeedback_trainer.flow_grpo.learner import Learner
from emofeedback_trainer.flow_grpo.start import read_start
from emofeedback_trainer.flow_grpo.trainer import PolicyLearner

_PART = "transformer"


def load_learner(config: FlowGrpoConfig) -> Learner:
    """A learner on a copy of the profile's transformer, without text encoders and autoencoder.

    Raises:
        FailedPrecondition: the checkpoint can't be had, or its device is missing; or the policy that it begins with
            can't be read, or is of another model.
        InvalidRequest: the transformer has no layers of the names in `learner.target_modules`.
    """
    settings = load_profile(config.profile).generator
    check_device(settings.device, "generator.device")
    folder = fetch(settings.checkpoint, INDEX, [f"{_PART}/*.json", f"{_PART}/diffusion_pytorch_model*.safetensors"])
    dtype = getattr(torch, settings.dtype)
    transformer = SD3Transformer2DModel.from_pretrained(
        folder / _PART, dtype=dtype, use_safetensors=True, local_files_only=True
    )
    if config.start:
        read_start(config.start).merge_into(transformer)
    return Learner(transformer, config.learner, device=settings.device, dtype=dtype)


@contextmanager
def learner_of(config: FlowGrpoConfig) -> Iterator[PolicyLearner]:
    """The run's learner, in this process or in `workers` others, for as long as the context lasts; raises as
    `load_learner`, and Unavailable where the workers don't start."""
    if config.workers == 1:
        yield load_learner(config)
        return
    gpus = load_profile(config.profile).generator.device == "cuda"
    with distributed_learner(partial(load_learner, config), workers=config.workers, gpus=gpus) as learner:
        yield learner


def load_panel(config: FlowGrpoConfig) -> Panel:
    """The held-out panel of the run's task; its independent judge looks only at pictures of a generator it knows.

    Raises:
        InvalidRequest: as `load_task`.
    """
    task = load_task(config.prompts)
    return Panel(
        pairs=task.panel[: config.panel.pairs],
        images=config.panel.images,
        rewards=config.rewards,
        independent=task.independent(load_profile(config.profile).generator.checkpoint),
    )


def engines(config: FlowGrpoConfig, store: str) -> AbstractAsyncContextManager[tuple[Generator, Judge]]:
    """Generator and judge, for as long as the context lasts.

    Args:
        store: fsspec URI of the run's policies.

    Raises:
        FailedPrecondition: the profile's models can't be had, or don't run here.
    """
    if config.address:
        token = os.environ.get(TOKEN_VARIABLE, "")
        return _parts(AsyncClient(config.address, token=token, priority="trajectories"))
    profile = load_profile(config.profile)
    # The run names every policy that it generates with: the profile's own default one is not in its store.
    generator = replace(profile.generator, policies=store, policy="")
    return _parts(local(replace(profile, generator=generator, judge=_reproducible(profile))))


def _reproducible(profile: Profile) -> JudgeSettings:
    """One picture at a time on a CPU: there a number's last bits depend on which pictures are judged together, and so
    on when they arrive; a killed run could not be repeated to the bit. Generating is slower, so no time is lost."""
    return replace(profile.judge, max_batch=1) if profile.judge.device == "cpu" else profile.judge


@asynccontextmanager
async def _parts(opened: AbstractAsyncContextManager[AsyncServices]) -> AsyncIterator[tuple[Generator, Judge]]:
    async with opened as services:
        yield services.generator, services.judge
