"""One request on its way through the engine: what it asks for, and what it hears."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version

import torch
from PIL import Image
from torch import Tensor

from emofeedback.domain import tensors
from emofeedback.domain.callers import Priority
from emofeedback.domain.generation import (
    Conditioning,
    GeneratedImage,
    GenerationEvent,
    GenerationRequest,
    GroupStarted,
    ModelInfo,
    NoiseWindow,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.recipe import PictureRecipe, ReadEmotion, with_recipe
from emofeedback.generator.prompts import Embedding
from emofeedback.generator.sampler import Recipe, Sample
from emofeedback.turns import Demand

Event = GenerationEvent | TrajectoryEvent


@dataclass(eq=False, kw_only=True)
class Call:
    """A request for pictures or for trajectories."""

    request: GenerationRequest | TrajectoryRequest
    policy: str
    """The adapter that all of it is generated with; empty for the base weights."""
    caller: str
    priority: Priority
    steps: int
    guidance: float
    levels: tuple[float, ...]
    """Noise levels of the steps, where the policy has its own; else empty."""
    deliver: Callable[[Event | Exception], None]
    """Hands something to the caller's event loop; from any thread."""
    waiting: deque[int]
    """Positions of the seeds that have no slot in the batch yet."""
    unfinished: int
    abandoned: bool = False
    """Set by the caller's side when nobody waits any more."""
    recipes: dict[int, Recipe] = field(default_factory=dict)
    """By the variation of the request's emotion tokens; without those, 0."""
    shared_prefix: Sample | None = None
    """The sample of a common start from which the others branch off."""
    last_progress: float = 0.0
    """When the caller last heard of a step (monotonic clock)."""

    def variation(self, index: int) -> int:
        """Which variation of the request's emotion tokens an image is painted with; 0 where there are none."""
        emotion = self.request.emotion
        return index % emotion.variations if emotion is not None else 0

    @property
    def kind(self) -> str:
        """What its images are counted as: picture or trajectory."""
        return "trajectory" if isinstance(self.request, TrajectoryRequest) else "picture"

    @property
    def window(self) -> NoiseWindow | None:
        """The stochastic steps of a request for trajectories."""
        return self.request.window if isinstance(self.request, TrajectoryRequest) else None

    @property
    def start_seed(self) -> int | None:
        """Seed of the first noise of all trajectories; None where each has its own, and for pictures."""
        return self.request.start_seed if isinstance(self.request, TrajectoryRequest) else None

    def demand(self, begun: int) -> Demand[Call]:
        """What could take a step now, beside so many samples that are on their way."""
        return Demand(
            call=self, caller=self.caller, priority=self.priority, samples=begun + self._startable, steps=self.steps
        )

    @property
    def _startable(self) -> int:
        """Samples that may begin: with a common start only one, until it has entered the window."""
        if self.start_seed is None or (self.shared_prefix is not None and self.shared_prefix.visited):
            return len(self.waiting)
        return 0 if self.shared_prefix is not None else 1


@dataclass(eq=False, kw_only=True)
class Slot:
    """One slot of the batch."""

    call: Call
    index: int
    """Position of the sample's seed in the request."""
    sample: Sample


def group_started(recipe: Recipe, model: ModelInfo, policy_digest: str) -> GroupStarted:
    """What the trajectories of a call have in common."""
    return GroupStarted(
        conditioning=_conditioning(recipe.prompt),
        negative=_conditioning(recipe.negative) if recipe.negative is not None else None,
        sigmas=tensors.from_torch(recipe.sigmas),
        model=model,
        policy_digest=policy_digest,
    )


def finished(
    slot: Slot, pixels: Tensor, base: ModelInfo, *, policy_digest: str = "", recipes: bool = False
) -> GeneratedImage | Trajectory:
    """What a caller gets of a finished sample; `pixels` is uint8 RGB, shape (height, width, 3).

    Args:
        policy_digest: of the adapter that it was painted with; empty for the base weights.
        recipes: a picture carries how it was made. A trajectory's never does: a learner reads it once.

    Raises:
        FloatingPointError: NaN or infinity among a trajectory's log-probabilities.
    """
    png = io.BytesIO()
    # zlib's fastest level: a quarter of the time, files an eighth larger.
    Image.fromarray(pixels.numpy()).save(png, "PNG", compress_level=1)
    sample = slot.sample
    if slot.call.window is None:
        image = GeneratedImage(
            index=slot.index,
            seed=sample.seed,
            data=png.getvalue(),
            width=pixels.shape[1],
            height=pixels.shape[0],
            model=replace(base, policy=slot.call.policy),
        )
        if not recipes:
            return image
        return replace(image, data=with_recipe(image.data, _recipe(slot.call, image, pixels, policy_digest)))
    log_probabilities = torch.cat([torch.empty(0), *map(Tensor.cpu, sample.log_probabilities)])
    if not log_probabilities.isfinite().all():
        raise FloatingPointError("log-probabilities of NaN or infinity")
    return Trajectory(
        index=slot.index,
        seed=sample.seed,
        latents=tensors.from_torch(torch.stack(sample.visited)),
        log_probabilities=tensors.from_torch(log_probabilities),
        final=tensors.from_torch(sample.latent),
        image=png.getvalue(),
    )


def _recipe(call: Call, image: GeneratedImage, pixels: Tensor, policy_digest: str) -> PictureRecipe:
    return PictureRecipe(
        prompt=call.request.prompt,
        negative_prompt=call.request.negative_prompt,
        seed=image.seed,
        steps=call.steps,
        guidance=call.guidance,
        width=image.width,
        height=image.height,
        generator=image.model,
        policy_digest=policy_digest,
        pixels="sha256:" + hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest(),
        version=_version(),
        emotion=_read_emotion(call, image.index),
    )


def _read_emotion(call: Call, index: int) -> ReadEmotion | None:
    emotion = call.request.emotion
    if emotion is None:
        return None
    read = emotion.chosen([call.variation(index)])
    return ReadEmotion(judge=emotion.judge, digest=read.digest, scale=call.request.emotion_scale)


@cache
def _version() -> str:
    return version("emofeedback")


def _conditioning(embedding: Embedding) -> Conditioning:
    return Conditioning(tokens=tensors.from_torch(embedding.tokens), pooled=tensors.from_torch(embedding.pooled))
