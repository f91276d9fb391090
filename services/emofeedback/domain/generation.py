"""What the loop and the trainer need of a generator, and the records that pass between them.

`Generator` has several implementations: the one in process, the gRPC client, a scripted one in the tests. One
conformance suite runs against all of them, so the loop never knows which it speaks to. Pictures travel as PNG, so every
implementation yields the same bytes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.tensors import Tensor

if TYPE_CHECKING:
    from emofeedback.domain.reasoning import EmotionTokens


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Which model made a reply."""

    name: str
    """The checkpoint's name: a hub id, a folder's name, or the embedded model's name."""
    digest: str
    """`sha256:` and 64 hex digits over the checkpoint's weight files."""
    policy: str = ""
    """The adapter in use, empty for the base weights."""


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """Generate one image per seed from one prompt."""

    prompt: str
    seeds: tuple[int, ...]
    """One image each; in [0, 2**63). The same prompt, seed and model give the same pixels."""
    negative_prompt: str = ""
    steps: int | None = None
    """Sampling steps; None is the profile's default."""
    guidance: float | None = None
    """Classifier-free guidance scale, 1 is off; None is the profile's default."""
    policy: str = ""
    """Name of an adapter; empty is the profile's default."""
    emotion: EmotionTokens | None = None
    """For a fused policy: what a judge has in mind; image i is painted with variation i modulo their number."""
    emotion_scale: float = 1.0
    """How much they count, in [0, 2]; 0: not at all."""
    request_id: str = ""
    """Retried with the same id, a replica does not do the work twice."""


@dataclass(frozen=True, kw_only=True)
class GenerationQueued:
    """The first event of every request: it is valid and waits for room in the batch."""

    images_ahead: int
    """Images that other requests have asked for before it."""
    unknown_words: tuple[str, ...] = ()
    """Words of the prompt that a model with a closed vocabulary (the embedded one) has never seen."""
    subjects: str = ""
    """What such a model can paint, in words for people; told with the unknown ones."""
    shortened_prompt: str = ""
    """What the text encoders read of a prompt that is longer than they can; empty: they read all of it."""


@dataclass(frozen=True, kw_only=True)
class GenerationStep:
    """`step` of `steps` denoising steps are done for the image `index`."""

    index: int
    step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One finished picture."""

    index: int
    """Position of its seed in the request."""
    seed: int
    data: bytes = field(repr=False)
    """A PNG."""
    width: int
    height: int
    model: ModelInfo

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes the PNG, as `save_png` does, and returns where."""
        return save_png(self.data, path)

    def _repr_png_(self) -> bytes:
        """The picture itself in a notebook."""
        return self.data


def save_png(data: bytes, path: str | PathLike[str]) -> Path:
    """Writes a picture to a file, over one that is there already, and returns where.

    Raises:
        InvalidRequest: the name's ending is another picture format's.
        OSError: the file can't be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InvalidRequest.of("path", f"{path.name!r} must end in .png: the picture is one")
    path.write_bytes(data)
    return path


GenerationEvent = GenerationQueued | GenerationStep | GeneratedImage


NoiseKind = Literal["sde", "cps"]


@dataclass(frozen=True, kw_only=True)
class NoiseWindow:
    """Which denoising steps of a trajectory add noise, and so have a probability that can be learned from."""

    kind: NoiseKind = "sde"
    """Flow-GRPO's stochastic step, or the coefficient-preserving one (`generator.stochastic`)."""
    level: float = 0.7
    """Noise level `a`; in [0.001, 2] for `sde`, [0.001, 1] for `cps`."""
    first: int = 0
    """Index of the first noisy step."""
    length: int = 2
    """Noisy steps; the others follow the ODE. 0 is a trajectory without noise. The last step of a sampling is never
    noisy."""


@dataclass(frozen=True, kw_only=True)
class TrajectoryRequest:
    """One group: a trajectory per seed, all from one prompt, one noise window and one policy version."""

    prompt: str
    seeds: tuple[int, ...]
    """One trajectory each; in [0, 2**63). A seed fixes the first noise and that of the window's steps, but see
    `start_seed`."""
    window: NoiseWindow
    steps: int
    """Denoising steps; `window.first + window.length` is below it."""
    start_seed: int | None = None
    """Seed of the first noise of all trajectories, in [0, 2**63); None: each has its own seed's. With a common start,
    what a group's rewards differ by is what the window's noise did."""
    negative_prompt: str = ""
    guidance: float = 1.0
    """Classifier-free guidance scale; 1 is off, as in training."""
    policy: str = ""
    """Name of an adapter; empty is the profile's default."""
    emotion: EmotionTokens | None = None
    """For a fused policy: what a judge has in mind, one variation, that of the whole group."""
    emotion_scale: float = 1.0
    """How much they count, in [0, 2]; 0: not at all."""
    request_id: str = ""
    """Retried with the same id, a replica does not do the work twice."""


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What the transformer reads of one prompt, so that a learner needs no text encoders."""

    tokens: Tensor
    """Shape (tokens, context width)."""
    pooled: Tensor
    """Shape (pooled width,)."""


@dataclass(frozen=True, kw_only=True)
class GroupStarted:
    """What all trajectories of a group have in common; it comes before the first of them."""

    conditioning: Conditioning
    negative: Conditioning | None
    """None where guidance is off."""
    sigmas: Tensor
    """float32, shape (steps + 1,): the exact noise levels."""
    model: ModelInfo
    """The base model and the policy's name."""
    policy_digest: str
    """`sha256:` and 64 hex digits over the adapter's file; empty for the base weights."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One finished sample."""

    index: int
    """Position of its seed in the request."""
    seed: int
    latents: Tensor
    """float32, shape (window.length + 1, channels, height, width): before and after each noisy step."""
    log_probabilities: Tensor
    """float32, shape (window.length,): of the noisy steps under the policy, mean over the latent's elements."""
    final: Tensor
    """float32, shape (channels, height, width): the latent that was decoded."""
    image: bytes = field(repr=False)
    """The picture, a PNG."""


TrajectoryEvent = GenerationQueued | GroupStarted | Trajectory


class Generator(Protocol):
    """Paints pictures from prompts."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Events until every image is there; closing the generator stops the computation at the next step.

        Raises:
            InvalidRequest: a field is out of its limits.
            NotFound: no such policy.
            ResourceExhausted: the queue is full.
            FailedPrecondition: the policy is no whole adapter of this model, or was not fused with the judge whose
                emotion tokens it shall read.
            NotFinite: NaN or infinity was painted; the message names the policy and the checkpoint.
        """
        ...

    def sample_trajectories(self, request: TrajectoryRequest) -> AsyncGenerator[TrajectoryEvent, None]:
        """Events until every trajectory of the group is there: `GenerationQueued`, `GroupStarted`, then trajectories
        as they are finished. All come from one policy version. Closing the generator stops the computation.

        Raises:
            EmoFeedbackError: as `generate` does.
        """
        ...

    async def model(self) -> ModelInfo:
        """The base model behind it."""
        ...

    async def policies(self) -> Sequence[str]:
        """Names of the adapters that it can paint with."""
        ...
