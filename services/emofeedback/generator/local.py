"""The generator in process: calls come in on an event loop, one thread samples, pictures leave as they are finished.

Continuous batching: between two denoising steps finished samples leave, those of abandoned calls are dropped, and
`turns` says whose go on. So the images of a call that is larger than the batch finish one after another, the first
ones are judged while the next are generated, and a single picture doesn't wait for all of them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import groupby
from math import prod
from typing import Any

import torch

from emofeedback.domain.callers import Priority, calling
from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest, NotFinite, ResourceExhausted, Unavailable
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationEvent,
    GenerationQueued,
    GenerationRequest,
    GenerationStep,
    ModelInfo,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.limits import BASE_POLICY, LIMITS
from emofeedback.domain.validation import check_generation_request, check_trajectory_request
from emofeedback.generator.budget import StepBudget
from emofeedback.generator.pipeline import Decoded, Models, load_models
from emofeedback.generator.policies import Policies
from emofeedback.generator.preflight import preflight
from emofeedback.generator.sampler import Recipe, Sample, advance, branch, recipe, start
from emofeedback.generator.slots import Call, Event, Slot, finished, group_started
from emofeedback.manifests import Signer
from emofeedback.observability.metrics import IMAGE_STEPS, IMAGES, POLICY_IN_USE, QUEUE_LENGTH, STEP_SECONDS
from emofeedback.profiles.profile import GeneratorSettings
from emofeedback.storage.vocabulary import Vocabulary
from emofeedback.turns import Pace, Turns

log = logging.getLogger(__name__)

_SHUTTING_DOWN = "the generator is shutting down"
_AWAITED_IMAGES = 8
_PNG_THREADS = {"cpu": 1, "cuda": 8}
"""Painting on a CPU needs its cores; beside a GPU they are idle, and a PNG of 512 pixels takes one some 60 ms."""
_PROGRESS_SECONDS = 0.1
"""A call hears of its steps at most this often: every step of every image would cost more than it says."""


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
        self._signer = Signer(settings.c2pa_certificate, settings.c2pa_key) if settings.c2pa_key else None
        self._budget = StepBudget(settings.image_steps_per_minute)
        self._changed = threading.Condition()
        # Shared with the event loops, under the condition's lock:
        self._calls: list[Call] = []
        self._closed = False
        # The sampler thread's own:
        self._slots: list[Slot] = []
        self._turns = Turns[Call](settings.max_batch)
        self._pace = Pace()
        self._seconds_per_image = 1.0
        self._policies_in_use: set[str] = set()
        self._encoders = ThreadPoolExecutor(_PNG_THREADS[settings.device], thread_name_prefix="png")
        self._sampler = threading.Thread(target=self._sample, name="sampler", daemon=True)
        self._sampler.start()

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
        with self._changed:
            waiting = sum(len(call.waiting) * call.steps for call in self._calls if not call.abandoned)
        slots = self._slots
        return waiting + sum(slot.call.steps - slot.sample.step for slot in slots if not slot.call.abandoned)

    def close(self) -> None:
        """Stop sampling at the next step; calls that still wait end with Unavailable. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._sampler.join()
        self._encoders.shutdown()
        self._policies.close()

    # --- on the event loops ---------------------------------------------------------------------------------------

    async def _serve(self, request: GenerationRequest | TrajectoryRequest) -> AsyncGenerator[Any, None]:
        """The events of a call, of the kind that its request asks for."""
        if self._closed:
            raise Unavailable(_SHUTTING_DOWN)
        policy = self._policies.resolve(request.policy)
        await asyncio.to_thread(self._policies.fetch, policy)
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
        ahead = self._enqueue(call)
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
            self._abandon(call)

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
        unknown_words = self._vocabulary.unknown(prompt)
        return GenerationQueued(
            images_ahead=ahead,
            unknown_words=unknown_words,
            subjects=self._settings.subjects if unknown_words else "",
            shortened_prompt=shortened if shortened != prompt else "",
        )

    def _enqueue(self, call: Call) -> int:
        """Line up; returns the number of unfinished images of the calls before."""
        with self._changed:
            if self._closed:
                raise Unavailable(_SHUTTING_DOWN)
            waiting = sum(len(other.waiting) for other in self._calls if not other.abandoned)
            over = waiting + len(call.waiting) - LIMITS.queued_images
            if over > 0:
                raise ResourceExhausted(
                    f"{waiting} images wait to be painted, {LIMITS.queued_images} may; try again later",
                    retry_after=max(1.0, over * self._seconds_per_image),
                )
            ahead = sum(other.unfinished for other in self._calls if not other.abandoned)
            self._calls.append(call)
            self._record_queue()
            self._changed.notify()
            return ahead

    def _record_queue(self) -> None:
        """Under the condition's lock."""
        for kind in ("picture", "trajectory"):
            unfinished = (call.unfinished for call in self._calls if call.kind == kind and not call.abandoned)
            QUEUE_LENGTH.record(sum(unfinished), kind=kind)

    def _abandon(self, call: Call) -> None:
        call.abandoned = True
        with self._changed:
            self._changed.notify()

    # --- on the sampler thread ------------------------------------------------------------------------------------

    def _sample(self) -> None:
        while self._wait_for_calls():
            self._drop_abandoned()
            by_policy = sorted(self._next_slots(), key=_policy)
            self._record_policies()
            for policy, slots in groupby(by_policy, key=_policy):
                self._step(policy, list(slots))
        for call in [call for call in self._calls if call.unfinished]:
            call.deliver(Unavailable(_SHUTTING_DOWN))

    def _wait_for_calls(self) -> bool:
        """Sleep while there is nothing to do; False once the engine is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._closed)
            return not self._closed

    def _drop_abandoned(self) -> None:
        self._slots = [slot for slot in self._slots if not slot.call.abandoned]
        with self._changed:
            self._calls = [call for call in self._calls if call.unfinished and not call.abandoned]
            self._record_queue()

    def _next_slots(self) -> list[Slot]:
        """Whose step is next: begun samples first, the oldest first; those that begin now get a slot."""
        with self._changed:
            calls = list(self._calls)
        begun: dict[Call, list[Slot]] = {call: [] for call in calls}
        for slot in self._slots:
            begun[slot.call].append(slot)
        demands = [call.demand(len(begun[call])) for call in calls]
        chosen: list[Slot] = []
        for call, count in self._turns.next([d for d in demands if d.samples], self._pace.seconds).items():
            chosen += begun[call][:count]
            chosen += self._begin(call, count - len(begun[call]))
        return chosen

    def _begin(self, call: Call, count: int) -> list[Slot]:
        slots: list[Slot] = []
        for _ in range(count):
            try:
                sample = self._next_sample(call)
            except Exception as error:
                self._fail(call, error)
                return []
            slots.append(Slot(call=call, index=call.waiting.popleft(), sample=sample))
        self._slots += slots
        return slots

    def _next_sample(self, call: Call) -> Sample:
        seed = call.request.seeds[call.waiting[0]]
        if call.shared_prefix is not None:
            return branch(call.shared_prefix, seed)
        call.recipe = call.recipe or self._start(call)
        sample = start(self._models, call.recipe, seed)
        if call.start_seed is not None:
            call.shared_prefix = sample
        return sample

    def _start(self, call: Call) -> Recipe:
        """The recipe of a call's samples, which those who ask for trajectories hear of."""
        made = recipe(
            self._models,
            prompt=call.request.prompt,
            negative_prompt=call.request.negative_prompt,
            steps=call.steps,
            guidance=call.guidance,
            levels=call.levels,
            window=call.window,
            start_seed=call.start_seed,
        )
        if call.window is not None:
            model = replace(self._models.info, policy=call.policy)
            call.deliver(group_started(made, model, self._policies.digest(call.policy)))
        return made

    def _record_policies(self) -> None:
        in_use = {slot.call.policy for slot in self._slots} or self._policies_in_use
        for policy in in_use ^ self._policies_in_use:
            digest = self._policies.digest(policy)
            POLICY_IN_USE.record(float(policy in in_use), policy=policy or BASE_POLICY, digest=digest)
        self._policies_in_use = in_use

    def _step(self, policy: str, slots: list[Slot]) -> None:
        """One forward for the samples of one policy, and what follows from it for their callers."""
        began = time.monotonic()
        try:
            self._policies.use(policy)
            advance(self._models, [slot.sample for slot in slots])
            self._hand_over([slot for slot in slots if slot.sample.finished])
        except Exception as error:
            self._fail_all(slots, error)
            return
        now = time.monotonic()
        STEP_SECONDS.record(now - began)
        if not any(slot.sample.finished for slot in slots):  # a picture that is finished is decoded as well
            self._pace.record(len(slots), now - began)
        IMAGE_STEPS.record(len(slots))
        self._seconds_per_image = (now - began) / len(slots) * slots[0].call.steps
        for call, of_call in groupby(slots, key=lambda slot: slot.call):
            self._report_steps(call, [slot for slot in of_call if not slot.sample.finished], now)
        for slot in slots:
            slot.call.unfinished -= slot.sample.finished
        self._slots = [slot for slot in self._slots if not slot.sample.finished]

    def _hand_over(self, slots: list[Slot]) -> None:
        """Finished samples go to the encoders, so many together as are decoded at once: a GPU has been told to decode
        them by then, a CPU does it on the encoder's core while the next step is computed on this one's."""
        size = self._models.decode_batch
        for together in (slots[i : i + size] for i in range(0, len(slots), size)):
            if self._models.device.type == "cpu":
                self._encoders.submit(self._decode, together, self._deliver)
            else:
                self._decode(together, lambda *picture: self._encoders.submit(self._deliver, *picture))

    def _decode(self, slots: list[Slot], deliver: Callable[[Slot, Decoded, int], object]) -> None:
        """Each of the decoded pictures is handed to `deliver`, with its place among them."""
        try:
            decoded = self._models.decode([slot.sample.latent for slot in slots])
        except Exception as error:
            self._fail_all(slots, error)
            return
        for place, slot in enumerate(slots):
            deliver(slot, decoded, place)

    @staticmethod
    def _report_steps(call: Call, slots: list[Slot], now: float) -> None:
        if call.window is not None or now - call.last_progress < _PROGRESS_SECONDS:
            return
        call.last_progress = now
        for slot in slots:
            call.deliver(GenerationStep(index=slot.index, step=slot.sample.step, steps=call.steps))

    def _fail_all(self, slots: list[Slot], error: Exception) -> None:
        for call in {slot.call for slot in slots}:
            self._fail(call, error)

    def _fail(self, call: Call, error: Exception) -> None:
        """End one call; the others go on."""
        if isinstance(error, FloatingPointError):
            checkpoint = f"checkpoint {self._models.info.name!r}"
            policy = f"policy {call.policy!r} on {checkpoint}" if call.policy else checkpoint
            error = NotFinite.of(policy, self._settings.dtype)
        if not isinstance(error, EmoFeedbackError):
            log.error("a call of the generator failed", exc_info=error)
        call.abandoned = True
        call.deliver(error)

    # --- on the encoders' threads ---------------------------------------------------------------------------------

    def _deliver(self, slot: Slot, decoded: Decoded, place: int) -> None:
        """One that isn't finite ends its own call only."""
        if slot.call.abandoned:
            return
        try:
            pixels, digest = decoded.picture(place), self._policies.digest(slot.call.policy)
            image = finished(slot, pixels, self._models.info, policy_digest=digest, recipes=self._settings.recipes)
            if self._signer and isinstance(image, GeneratedImage):
                image = replace(image, data=self._signer.sign(image.data))
            slot.call.deliver(image)
            IMAGES.record(1, kind=slot.call.kind)
        except Exception as error:
            self._fail(slot.call, error)


def _usual_priority(request: GenerationRequest | TrajectoryRequest) -> Priority:
    """Of a call that says nothing: for more pictures than a few, nobody sits and waits."""
    if isinstance(request, TrajectoryRequest):
        return "trajectories"
    return "interactive" if len(request.seeds) <= _AWAITED_IMAGES else "batch"


def _policy(slot: Slot) -> str:
    return slot.call.policy


def _call_soon(
    loop: asyncio.AbstractEventLoop,
    events: asyncio.Queue[Event | Exception],
    event: Event | Exception,
) -> None:
    """Put an event where its caller waits; a caller whose loop is closed waits no more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(events.put_nowait, event)
