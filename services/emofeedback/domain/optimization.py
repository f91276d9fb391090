"""Records of the optimisation loop: what is asked of it, what it tells while it runs, what it leaves behind.

They stand apart from the loop itself because the SDK, the report and the command read them without running it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypedDict

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint
from emofeedback.domain.assessment import Assessment, AssessmentOutcome
from emofeedback.domain.generation import GeneratedImage, GenerationStep, ModelInfo


class StopReason(StrEnum):
    """Why a run ended."""

    ROUNDS = "rounds"
    TOLERANCE = "tolerance"
    PLATEAU = "plateau"
    TIME_BUDGET = "time_budget"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One image of a round, judged."""

    index: int
    seed: int
    outcome: AssessmentOutcome
    loss: float | None
    """|V - V*| + |A - A*|, in [0, 16], and + |D - D*|, in [0, 24], where dominance was asked for; None where the judge
    gave no readable reply, or no dominance though it was asked for."""
    alignment: float
    """Cosine similarity with the *original* prompt, in [-1, 1]."""
    on_subject: bool
    """False where `alignment` fell under the drift floor: such an image can't be the answer. The floor comes from the
    first round, so the `ImageJudged` events of that round say True; its record has the truth."""
    prompt: str = ""
    """What it was painted from; empty in a run of an earlier version: its round's prompt."""
    likely_loss: float | None = None
    """The loss of where it likely lies, by its reading and what its words usually do; the best is chosen by it.
    None where nothing is known of the words: then by `loss`. Set in its round's record."""
    imagined: bool | None = None
    """Whether it was painted from what the judge imagined of prompt and target, besides its prompt; None in a run of an
    earlier version, which did not say."""

    @property
    def eligible(self) -> bool:
        """Whether it may be the answer: on the subject, and no picture that the judge can't read."""
        unreadable = isinstance(self.outcome, Assessment) and self.outcome.in_domain is False
        return self.on_subject and not unreadable


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A rewritten prompt that was not used."""

    prompt: str
    """The reply's prompt, or the whole reply where no prompt could be read from it."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A rewrite that is painted beside the first one of its round."""

    prompt: str
    analysis: str
    """The textual gradient that it follows."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One finished round: loss, gradient, update."""

    index: int
    """From 0."""
    prompt: str
    candidates: tuple[Candidate, ...]
    best: int | None
    """Index of the candidate nearest the target; None where no image could be judged."""
    worst: int | None
    analysis: str = ""
    """The textual gradient; empty in the last round, which needs none."""
    optimized_prompt: str = ""
    """What the next round would paint; that of the best image so far where every rewrite was rejected."""
    further: tuple[Proposal, ...] = ()
    """What the next round would paint beside it: image i is painted from rewrite i modulo their number."""
    rejected: tuple[Rejection, ...] = ()
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The best image over all rounds."""

    round: int
    index: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Where a cut run stood."""

    rounds: tuple[Round, ...]
    best_image: bytes = field(repr=False)
    """The answer so far, which takes part in the next comparison; empty where there was none."""


class LoopOptions(TypedDict, total=False):
    """What may be said of a run besides prompt and target: fields of `OptimizationRequest`, which documents them."""

    rounds: int
    images: int
    seed: int
    tolerance: float | None
    time_budget: float | None
    policy: str
    user: str
    steps: int | None
    imagine: bool | None
    dominance: float | None


@dataclass(frozen=True, kw_only=True)
class OptimizationRequest:
    """One run of the loop (EmoFeedback^2, section 3.3)."""

    prompt: str
    """What the picture shows."""
    target: AffectPoint
    """What it should make people feel."""
    rounds: int = 3
    """Rounds at most, of generating, judging and rewriting."""
    images: int = 8
    """Images a round."""
    seed: int = 0
    """Image i of a round is painted with seed + i, so a change in the picture comes from the prompt. A round that
    repeats the prompt of an earlier one, because no rewrite was usable, goes on with the next seeds."""
    tolerance: float | None = None
    """Stop once the answer's loss is at most this, on the 1-9 scale."""
    time_budget: float | None = None
    """Seconds after which no new round starts."""
    policy: str = ""
    """Name of an adapter; empty: the profile's default."""
    user: str = ""
    """Id of a person by whose calibration valence and arousal are corrected; empty: uncorrected. Losses, the answer and
    the gradients are then by that person's eyes."""
    steps: int | None = None
    """Denoising steps of every image; None: the policy's own, else the profile's."""
    imagine: bool | None = None
    """Paint the prompt as it is asked for from what the judge imagines of it and the target, image i from variation i
    modulo their number, and rewrites from their words alone; needs a policy that was fused with the judge. None: as the
    profile says, where its own policy paints, else no."""
    dominance: float | None = None
    """A third target beside the two, in [1, 9], helpless to in control; None: any. It counts in every loss, and so in
    which image is the answer and when a run stops; the prompts and their rewrites are of valence and arousal alone, in
    which generator and agent have learned to think. Needs a judge that says dominance."""
    resume: Resume | None = None
    request_id: str = ""

    @property
    def farthest(self) -> float:
        """The largest loss that there can be."""
        return (2 if self.dominance is None else 3) * (SCALE_MAX - SCALE_MIN)


@dataclass(frozen=True, kw_only=True)
class RoundStarted:
    round: int
    prompt: str


@dataclass(frozen=True, kw_only=True)
class WordsUnknown:
    """The generator has never seen these words of the prompt."""

    round: int
    words: tuple[str, ...]
    subjects: str = ""
    """What it can paint, in words for people; empty where it does not say."""


@dataclass(frozen=True, kw_only=True)
class PromptShortened:
    """The generator can't read all of the prompt."""

    round: int
    prompt: str
    """What its text encoders read: up to the last phrase that fits."""


@dataclass(frozen=True, kw_only=True)
class PaintingStep:
    round: int
    step: GenerationStep


@dataclass(frozen=True, kw_only=True)
class ImagePainted:
    round: int
    image: GeneratedImage


@dataclass(frozen=True, kw_only=True)
class ImageJudged:
    round: int
    candidate: Candidate


@dataclass(frozen=True, kw_only=True)
class LossComputed:
    """Step 1: which candidates the gradient compares. `best` may come from an earlier round."""

    round: int
    losses: tuple[float | None, ...]
    best: Answer | None
    worst: Answer | None


@dataclass(frozen=True, kw_only=True)
class GradientEstimated:
    """Step 2: what separates the best from the worst, and what to change; the first of the round's gradients."""

    round: int
    analysis: str
    best_reasoning: str
    worst_reasoning: str


@dataclass(frozen=True, kw_only=True)
class PromptUpdated:
    """Step 3: the next prompt."""

    round: int
    prompt: str
    rejected: tuple[Rejection, ...]
    fell_back: bool
    """True where no rewrite was usable and the prompt of the best image so far stays."""
    further: tuple[Proposal, ...] = ()
    """The rewrites beside it, among which the next round's images are divided."""


@dataclass(frozen=True, kw_only=True)
class RoundFinished:
    round: Round


@dataclass(frozen=True, kw_only=True)
class OptimizationFinished:
    """Always the last event."""

    answer: Answer | None
    """None only where the judge could read no image of any round."""
    stopped_because: StopReason
    seconds: float
    generator: ModelInfo
    judge: ModelInfo


OptimizationEvent = (
    RoundStarted
    | WordsUnknown
    | PromptShortened
    | PaintingStep
    | ImagePainted
    | ImageJudged
    | LossComputed
    | GradientEstimated
    | PromptUpdated
    | RoundFinished
    | OptimizationFinished
)


@dataclass(frozen=True, kw_only=True)
class LossRequest:
    """Step 1: how far is each assessed image from the target?"""

    target: AffectPoint
    assessments: tuple[Assessment, ...]
    dominance: float | None = None
    """As `OptimizationRequest.dominance`; every assessment must then say it."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What step 1 found."""

    losses: tuple[float, ...]
    """|V - V*| + |A - A*|, in [0, 16], and + |D - D*| where dominance was asked for; in the assessments' order."""
    best: int
    """Index of the nearest."""
    worst: int
    """Index of the farthest."""


@dataclass(frozen=True, kw_only=True)
class GradientRequest:
    """Step 2: what separates the best image from the worst, and what should change?"""

    prompt: str
    target: AffectPoint
    best_image: bytes = field(repr=False)
    best: Assessment
    worst_image: bytes = field(repr=False)
    worst: Assessment


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """What step 2 found: the textual gradient, which says what separates the best image from the worst."""

    analysis: str = ""
    """What to change and why; empty where no reply could be read."""
    rejected: tuple[Rejection, ...] = ()
    """Replies that could not be read. Over gRPC always empty: there a gradient without an analysis is an error."""
    model: ModelInfo
    """The judge that was asked."""


@dataclass(frozen=True, kw_only=True)
class UpdateRequest:
    """Step 3: rewrite the prompt by an analysis."""

    original_prompt: str
    """What the user asked for; the rewrite must stay about it."""
    prompt: str
    """What was painted last."""
    analysis: str
    target: AffectPoint


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """What step 3 wrote: the next prompt."""

    prompt: str
    rejected: tuple[Rejection, ...] = ()
    """Rewrites that were not used as they were, and why."""
    fell_back: bool = False
    """True where no rewrite was usable and `prompt` is the request's own."""
    model: ModelInfo
    """The judge that was asked."""
