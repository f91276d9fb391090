"""The sampler's thread: it takes the calls in hand from one denoising step to the next.

Continuous batching: between two denoising steps finished samples leave, those of abandoned calls are dropped, and
`turns` says whose go on. So the images of a call that is larger than the batch finish one after another, the first
ones are judged while the next are generated, and a single picture doesn't wait for all of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby

from emofeedback.domain import tensors
from emofeedback.domain.errors import EmoFeedbackError, NotFinite, ResourceExhausted, Unavailable
from emofeedback.domain.generation import GeneratedImage, GenerationStep
from emofeedback.domain.limits import BASE_POLICY, LIMITS
from emofeedback.generator.connector import EmotionRows
from emofeedback.generator.pipeline import Decoded, Models
from emofeedback.generator.policies import Policies
from emofeedback.generator.sampler import Recipe, Sample, advance, branch, recipe, start
from emofeedback.generator.slots import Call, Slot, finished, group_started
from emofeedback.manifests import Signer
from emofeedback.observability.metrics import IMAGE_STEPS, IMAGES, POLICY_IN_USE, QUEUE_LENGTH, STEP_SECONDS
from emofeedback.profiles.profile import GeneratorSettings
from emofeedback.turns import Pace, Turns

log = logging.getLogger(__name__)

_SHUTTING_DOWN = "the generator is shutting down"
_PNG_THREADS = {"cpu": 1, "cuda": 8}
"""Painting on a CPU needs its cores; beside a GPU they are idle, and a PNG of 512 pixels takes one some 60 ms."""
_PROGRESS_SECONDS = 0.1
"""A call hears of its steps at most this often: every step of every image would cost more than it says."""


class SamplerThread:
    """Calls line up from any thread, one thread samples, and what becomes of a call goes to its `deliver`."""

    def __init__(self, models: Models, policies: Policies, settings: GeneratorSettings) -> None:
        """It samples from now on until it is closed; the policies of the calls have to be fetched."""
        self._models = models
        self._policies = policies
        self._settings = settings
        self._changed = threading.Condition()
        # Shared with the event loops, under the condition's lock:
        self._calls: list[Call] = []
        self._closed = False
        # The sampler thread's own:
        self._slots: list[Slot] = []
        self._turns = Turns[Call](settings.max_batch)
        self._pace = Pace()
        self._signer = Signer(settings.c2pa_certificate, settings.c2pa_key) if settings.c2pa_key else None
        self._seconds_per_image = 1.0
        self._policies_in_use: set[str] = set()
        self._encoders = ThreadPoolExecutor(_PNG_THREADS[settings.device], thread_name_prefix="png")
        self._sampler = threading.Thread(target=self._sample, name="sampler", daemon=True)
        self._sampler.start()

    def require_open(self) -> None:
        """Raises Unavailable once it is closed."""
        if self._closed:
            raise Unavailable(_SHUTTING_DOWN)

    def enqueue(self, call: Call) -> int:
        """Line up; returns the number of unfinished images of the calls before.

        Raises:
            Unavailable: it is closed.
            ResourceExhausted: as many images wait as may.
        """
        with self._changed:
            self.require_open()
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

    def abandon(self, call: Call) -> None:
        """Nobody waits for it any more."""
        call.abandoned = True
        with self._changed:
            self._changed.notify()

    @property
    def pending_image_steps(self) -> int:
        """Denoising steps that the images of all calls still need."""
        with self._changed:
            waiting = sum(len(call.waiting) * call.steps for call in self._calls if not call.abandoned)
        slots = self._slots
        return waiting + sum(slot.call.steps - slot.sample.step for slot in slots if not slot.call.abandoned)

    def close(self) -> None:
        """Stop at the next step; calls that still wait end with Unavailable. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._sampler.join()
        self._encoders.shutdown()

    def _record_queue(self) -> None:
        """Under the condition's lock."""
        for kind in ("picture", "trajectory"):
            unfinished = (call.unfinished for call in self._calls if call.kind == kind and not call.abandoned)
            QUEUE_LENGTH.record(sum(unfinished), kind=kind)

    # --- on the sampler thread ------------------------------------------------------------------------------------

    def _sample(self) -> None:
        while self._wait_for_calls():
            self._drop_abandoned()
            together = sorted(self._next_slots(), key=_policy_and_rows)
            self._record_policies()
            for (policy, _), slots in groupby(together, key=_policy_and_rows):
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
        index = call.waiting[0]
        seed = call.request.seeds[index]
        if call.shared_prefix is not None:
            return branch(call.shared_prefix, seed)
        variation = call.variation(index)
        if variation not in call.recipes:
            call.recipes[variation] = self._start(call, variation)
        sample = start(self._models, call.recipes[variation], seed)
        if call.start_seed is not None:
            call.shared_prefix = sample
        return sample

    def _start(self, call: Call, variation: int) -> Recipe:
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
            emotion=self._emotion(call, variation),
        )
        if call.window is not None:
            model = replace(self._models.info, policy=call.policy)
            call.deliver(group_started(made, model, self._policies.digest(call.policy)))
        return made

    def _emotion(self, call: Call, variation: int) -> EmotionRows | None:
        emotion = call.request.emotion
        if emotion is None:
            return None
        states = tensors.to_torch(emotion.states)[variation]
        return self._policies.fused(call.policy).read(states, call.request.emotion_scale)

    def _record_policies(self) -> None:
        in_use = {slot.call.policy for slot in self._slots} or self._policies_in_use
        for policy in in_use ^ self._policies_in_use:
            digest = self._policies.digest(policy)
            POLICY_IN_USE.record(float(policy in in_use), policy=policy or BASE_POLICY, digest=digest)
        self._policies_in_use = in_use

    def _step(self, policy: str, slots: list[Slot]) -> None:
        """One forward for samples of one policy and as many rows, and what follows from it for their callers."""
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


def _policy_and_rows(slot: Slot) -> tuple[str, int]:
    """Samples that are alike in both share a forward."""
    return slot.call.policy, slot.sample.recipe.rows
