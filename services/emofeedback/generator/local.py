"""The generator in process: calls come in on an event loop, one thread samples, pictures leave as they are finished."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from math import prod
from typing import Any

import torch

from emofeedback.domain.affect import split_target
from emofeedback.domain.callers import Priority, calling
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationEvent,
    GenerationQueued,
    GenerationRequest,
    ModelInfo,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.limits import BASE_POLICY, LIMITS
from emofeedback.domain.validation import check_generation_request, check_trajectory_request
from emofeedback.generator.budget import StepBudget
from emofeedback.generator.pipeline import Models, load_models
from emofeedback.generator.policies import Policies
from emofeedback.generator.preflight import preflight
from emofeedback.generator.sampler_thread import SamplerThread
from emofeedback.generator.slots import Call, Event
from emofeedback.profiles.profile import GeneratorSettings
from emofeedback.storage.vocabulary import Vocabulary

_AWAITED_IMAGES = 8


class LocalGenerator:
    """Generates with a loaded checkpoint. A `domain.generation.Generator`; safe to use from several event loops.

    The same prompt, seed, steps, guidance and model give the same pixels. On a CPU that holds to the bit whatever
    else is generated at the time (see `generator.rows`); on a GPU matrix kernels depend on the batch's size, and
    pixels may differ by a few levels in company.
    """

    def __init__(self, models: Models, settings: GeneratorSettings) -> None:
        self._models = models
        self._settings = settings
        self._policies = Policies(
            settings.policies, models.transformer, models.info, default=settings.policy, blocks=models.blocks
        )
        self._vocabulary = Vocabulary.read(settings.vocabulary)
        self._budget = StepBudget(settings.image_steps_per_minute)
        self._sampler = SamplerThread(models, self._policies, settings)

    @classmethod
    def load(cls, settings: GeneratorSettings) -> LocalGenerator:
        """Check, load and start.

        Raises:
            FailedPrecondition: see `preflight`.
        """
        preflight(settings)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        return cls(load_models(settings), settings)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """See `Generator.generate`. Steps are reported at most ten times a second, images all.

        Raises:
            FailedPrecondition: the policy is no adapter of this model.
            NotFinite: what was painted is NaN or infinity; the message names the policy and the checkpoint.
            Unavailable: the engine is closed, or the policies can't be read.
            ResourceExhausted: as many images wait as may, or the caller has used up its image-steps of a minute.
        """
        check_generation_request(request)
        async with aclosing(self._serve(request)) as events:
            async for event in events:
                yield event

    async def sample_trajectories(self, request: TrajectoryRequest) -> AsyncGenerator[TrajectoryEvent, None]:
        """See `Generator.sample_trajectories`.

        Noise is drawn on the CPU from seed and step alone, and latents stay in float32, so on a CPU a trajectory is
        the same to the bit whatever else is generated at the time.

        Raises:
            As `generate`.
        """
        check_trajectory_request(request)
        self._check_size(request)
        async with aclosing(self._serve(request)) as events:
            async for event in events:
                yield event

    async def model(self) -> ModelInfo:
        """The base model."""
        return self._models.info

    async def policies(self) -> Sequence[str]:
        """Names of the adapters at the profile's address."""
        return await asyncio.to_thread(self._policies.names)

    @property
    def pending_image_steps(self) -> int:
        """Denoising steps that the images of all calls still need."""
        return self._sampler.pending_image_steps

    def close(self) -> None:
        """Stop sampling at the next step; calls that still wait end with Unavailable. May be called twice."""
        self._sampler.close()
        self._policies.close()

    # --- on the event loops ---------------------------------------------------------------------------------------

    async def _serve(self, request: GenerationRequest | TrajectoryRequest) -> AsyncGenerator[Any, None]:
        """The events of a call, of the kind that its request asks for."""
        self._sampler.require_open()
        policy = self._policies.resolve(request.policy)
        await asyncio.to_thread(self._policies.fetch, policy)
        self._check_emotion(request, policy)
        steps, guidance, levels = self._sampling(request, policy)
        self._budget.take(calling().name, steps * len(request.seeds))
        events: asyncio.Queue[Event | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        call = Call(
            request=request,
            policy=policy,
            caller=calling().name,
            priority=calling().priority or _usual_priority(request),
            steps=steps,
            guidance=guidance,
            levels=levels,
            deliver=lambda event: _call_soon(loop, events, event),
            waiting=deque(range(len(request.seeds))),
            unfinished=len(request.seeds),
        )
        ahead = self._sampler.enqueue(call)
        try:
            yield self._queued(request.prompt, ahead)
            awaited = len(request.seeds)
            while awaited:
                event = await events.get()
                if isinstance(event, Exception):
                    raise event
                awaited -= isinstance(event, GeneratedImage | Trajectory)
                yield event
        finally:
            self._sampler.abandon(call)

    def _sampling(
        self, request: GenerationRequest | TrajectoryRequest, policy: str
    ) -> tuple[int, float, tuple[float, ...]]:
        """Steps, guidance and the steps' noise levels: the request's, else a distilled policy's own, else the
        profile's."""
        if isinstance(request, TrajectoryRequest):
            return request.steps, request.guidance, ()
        own = self._policies.sampling(policy)
        levels = own.levels if own and request.steps in (None, len(own.levels)) else ()
        guidance = request.guidance or (own.guidance if own else self._settings.guidance)
        if own and request.negative_prompt and guidance == 1:
            raise InvalidRequest.of(
                "negative_prompt",
                f"policy {policy!r} paints without guidance and can't heed one: name a guidance or another policy",
            )
        return request.steps or len(levels) or self._settings.steps, guidance, levels

    def _check_emotion(self, request: GenerationRequest | TrajectoryRequest, policy: str) -> None:
        """Whether the policy has learned to read the request's emotion tokens."""
        emotion, fusion = request.emotion, self._policies.fusion(policy)
        if emotion is None:
            return
        if fusion is None:
            raise FailedPrecondition(
                f"policy {policy or BASE_POLICY!r} was not fused with a judge and reads no emotion tokens: leave them "
                "out (create --no-imagine, or optimizer.imagine = false in the profile), or name a policy that "
                "`emofeedback-train fuse` has made"
            )
        if emotion.judge.digest != fusion.judge.digest:
            raise FailedPrecondition(
                f"policy {policy!r} reads the emotion tokens of {fusion.judge.name} ({fusion.judge.digest}), these are "
                f"of {emotion.judge.name} ({emotion.judge.digest}): ask that judge, or fuse a policy with this one"
            )
        if emotion.states.shape[1:] != (fusion.tokens, fusion.width):
            _, tokens, width = emotion.states.shape
            raise InvalidRequest.of(
                "emotion.states.shape",
                f"is of {tokens} tokens of width {width}, policy {policy!r} reads {fusion.tokens} of {fusion.width}",
            )

    def _check_size(self, request: TrajectoryRequest) -> None:
        """A trajectory has to fit into one message, wherever it is sampled."""
        latent = 4 * prod(self._models.latent_shape)
        png = 3 * self._settings.width * self._settings.height
        longest = (LIMITS.message_bytes - png) // latent - 2
        if request.window.length > longest:
            raise InvalidRequest.of(
                "window.length",
                f"is {request.window.length}, at this model's size a message holds trajectories of up to {longest}",
            )

    def _queued(self, prompt: str, ahead: int) -> GenerationQueued:
        shortened = self._models.prompts.shortened(prompt)
        unknown_words = self._vocabulary.unknown(split_target(prompt)[0])
        return GenerationQueued(
            images_ahead=ahead,
            unknown_words=unknown_words,
            subjects=self._settings.subjects if unknown_words else "",
            shortened_prompt=shortened if shortened != prompt else "",
        )


def _usual_priority(request: GenerationRequest | TrajectoryRequest) -> Priority:
    """Of a call that says nothing: for more pictures than a few, nobody sits and waits."""
    if isinstance(request, TrajectoryRequest):
        return "trajectories"
    return "interactive" if len(request.seeds) <= _AWAITED_IMAGES else "batch"


def _call_soon(
    loop: asyncio.AbstractEventLoop,
    events: asyncio.Queue[Event | Exception],
    event: Event | Exception,
) -> None:
    """Put an event where its caller waits; a caller whose loop is closed waits no more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(events.put_nowait, event)
