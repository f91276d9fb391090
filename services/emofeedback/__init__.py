"""EmoFeedback: pictures that make people feel what you asked for.

The whole SDK can be imported from here. A name loads its module on first use, so importing a part costs nothing more,
and a client needs only gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # once more, for type checkers: they read no table
    # ruff: noqa: I001 - a block for each module
    from emofeedback.client import (
        AsyncClient as AsyncClient,
        AsyncServices as AsyncServices,
        Client as Client,
        Creation as Creation,
        Deadlines as Deadlines,
        Keepalive as Keepalive,
        RetryPolicy as RetryPolicy,
        Services as Services,
        TLS as TLS,
        Waiting as Waiting,
    )
    from emofeedback.domain.affect import (
        AffectPoint as AffectPoint,
        Emotion as Emotion,
    )
    from emofeedback.domain.assessment import (
        Assessment as Assessment,
        AssessmentFailure as AssessmentFailure,
        AssessmentOutcome as AssessmentOutcome,
        Conversation as Conversation,
        Decoding as Decoding,
        Distribution as Distribution,
        EmotionShare as EmotionShare,
        Judge as Judge,
        Message as Message,
    )
    from emofeedback.domain.errors import (
        Cancelled as Cancelled,
        DeadlineExceeded as DeadlineExceeded,
        EmoFeedbackError as EmoFeedbackError,
        FailedPrecondition as FailedPrecondition,
        FieldViolation as FieldViolation,
        InternalError as InternalError,
        InvalidRequest as InvalidRequest,
        MessageTooLarge as MessageTooLarge,
        NotFound as NotFound,
        NothingAnswers as NothingAnswers,
        ResourceExhausted as ResourceExhausted,
        Unauthenticated as Unauthenticated,
        Unavailable as Unavailable,
    )
    from emofeedback.domain.generation import (
        Conditioning as Conditioning,
        GeneratedImage as GeneratedImage,
        GenerationEvent as GenerationEvent,
        GenerationQueued as GenerationQueued,
        GenerationRequest as GenerationRequest,
        GenerationStep as GenerationStep,
        Generator as Generator,
        GroupStarted as GroupStarted,
        ModelInfo as ModelInfo,
        NoiseWindow as NoiseWindow,
        Trajectory as Trajectory,
        TrajectoryEvent as TrajectoryEvent,
        TrajectoryRequest as TrajectoryRequest,
    )
    from emofeedback.domain.limits import (
        LIMITS as LIMITS,
    )
    from emofeedback.domain.optimization import (
        Answer as Answer,
        Candidate as Candidate,
        Gradient as Gradient,
        GradientEstimated as GradientEstimated,
        GradientRequest as GradientRequest,
        ImageJudged as ImageJudged,
        ImagePainted as ImagePainted,
        LoopOptions as LoopOptions,
        LossComputed as LossComputed,
        LossRequest as LossRequest,
        Losses as Losses,
        OptimizationEvent as OptimizationEvent,
        OptimizationFinished as OptimizationFinished,
        OptimizationRequest as OptimizationRequest,
        PaintingStep as PaintingStep,
        PromptShortened as PromptShortened,
        PromptUpdated as PromptUpdated,
        Rejection as Rejection,
        Resume as Resume,
        Rewrite as Rewrite,
        Round as Round,
        RoundFinished as RoundFinished,
        RoundStarted as RoundStarted,
        StopReason as StopReason,
        UpdateRequest as UpdateRequest,
        WordsUnknown as WordsUnknown,
    )
    from emofeedback.domain.questions import (
        AnswerOutcome as AnswerOutcome,
        Description as Description,
        DescriptionOutcome as DescriptionOutcome,
        Question as Question,
        QuestionAnswer as QuestionAnswer,
        ReplyFailure as ReplyFailure,
    )
    from emofeedback.domain.reasoning import (
        EmotionTokens as EmotionTokens,
        Imagination as Imagination,
        Reasoning as Reasoning,
    )
    from emofeedback.domain.tensors import (
        Tensor as Tensor,
        to_torch as to_torch,
    )
    from emofeedback.domain.training import (
        Alarm as Alarm,
        IterationDone as IterationDone,
        PanelMeasured as PanelMeasured,
        PolicyPublished as PolicyPublished,
        TrainingRun as TrainingRun,
        RunEvent as RunEvent,
        RunRequest as RunRequest,
        RunState as RunState,
        RunStateChanged as RunStateChanged,
    )
    from emofeedback.in_process import (
        local as local,
        silence_libraries as silence_libraries,
    )

_NAMES = {
    "client": "AsyncClient AsyncServices Client Creation Deadlines Keepalive RetryPolicy Services TLS Waiting",
    "domain.affect": "AffectPoint Emotion",
    "domain.assessment": (
        "Assessment AssessmentFailure AssessmentOutcome Conversation Decoding Distribution EmotionShare Judge Message"
    ),
    "domain.errors": (
        "Cancelled DeadlineExceeded EmoFeedbackError FailedPrecondition FieldViolation InternalError "
        "InvalidRequest MessageTooLarge NotFound NothingAnswers ResourceExhausted Unauthenticated Unavailable"
    ),
    "domain.generation": (
        "Conditioning GeneratedImage GenerationEvent GenerationQueued GenerationRequest GenerationStep "
        "Generator GroupStarted ModelInfo NoiseWindow Trajectory TrajectoryEvent TrajectoryRequest"
    ),
    "domain.limits": "LIMITS",
    "domain.optimization": (
        "Answer Candidate Gradient GradientEstimated GradientRequest ImageJudged ImagePainted "
        "LoopOptions LossComputed LossRequest Losses OptimizationEvent OptimizationFinished OptimizationRequest "
        "PaintingStep PromptShortened PromptUpdated Rejection Resume Rewrite Round RoundFinished "
        "RoundStarted StopReason UpdateRequest WordsUnknown"
    ),
    "domain.questions": "AnswerOutcome Description DescriptionOutcome Question QuestionAnswer ReplyFailure",
    "domain.reasoning": "EmotionTokens Imagination Reasoning",
    "domain.tensors": "Tensor to_torch",
    "domain.training": (
        "Alarm IterationDone PanelMeasured PolicyPublished RunEvent RunRequest RunState RunStateChanged TrainingRun"
    ),
    "in_process": "local silence_libraries",
}
"""The public names, by the module that each has its home in."""

_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"emofeedback.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
