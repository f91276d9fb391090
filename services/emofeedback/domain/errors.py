"""What can go wrong, as typed exceptions. Each one maps to one gRPC status code (`wire.status` does the mapping).

A service raises these; the SDK raises the same ones again on the other side of the wire.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_VIOLATIONS = 8
"""So many of a request's violations are told: with more, a call's trailers would be over gRPC's 8 KiB."""


@dataclass(frozen=True)
class FieldViolation:
    """One thing wrong with one field of a request."""

    field: str
    """The field's dotted name, as in the proto: `target.valence`."""
    problem: str
    """What is wrong and what the limit is, for a person."""

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


class EmoFeedbackError(Exception):
    """The root of all errors that EmoFeedback raises on purpose."""

    code = "INTERNAL"
    """Name of the gRPC status code."""
    retryable = False
    """True where the same call may succeed later, unchanged."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which a retry makes sense, where the server said so."""


class InvalidRequest(EmoFeedbackError):
    """The request can't be served as it is; `violations` says which fields and why."""

    code = "INVALID_ARGUMENT"

    def __init__(self, *violations: FieldViolation) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = violations

    @classmethod
    def of(cls, field: str, problem: str) -> InvalidRequest:
        """The usual case: one field, one problem."""
        return cls(FieldViolation(field, problem))


class NotFound(EmoFeedbackError):
    """A named thing (a policy, an application, a run) does not exist."""

    code = "NOT_FOUND"


class Unauthenticated(EmoFeedbackError):
    """The bearer token is missing or wrong."""

    code = "UNAUTHENTICATED"


class ResourceExhausted(EmoFeedbackError):
    """A queue or a disk is full, or a message is over its limit."""

    code = "RESOURCE_EXHAUSTED"
    retryable = True


class MessageTooLarge(ResourceExhausted):
    """A request or reply is over the message limit: the same call would fail again."""

    retryable = False


class FailedPrecondition(EmoFeedbackError):
    """Something must be put right first: no CUDA, no hub token, an output folder that is not empty."""

    code = "FAILED_PRECONDITION"


class NotFinite(FailedPrecondition):
    """A model gave NaN or infinity where a number belongs: nothing that follows from it may be shown or judged."""

    @classmethod
    def of(cls, model: str, dtype: str) -> NotFinite:
        """`model` names the weights in question, `dtype` is what they compute in."""
        return cls(f"{model} gives NaN or infinity: its weights are damaged, or overflow in {dtype}")


class Unavailable(EmoFeedbackError):
    """The service can't be reached or is restarting."""

    code = "UNAVAILABLE"
    retryable = True


class NothingAnswers(Unavailable):
    """Nobody is there at the address, or not yet the application behind it: nothing was asked of a service."""


class DeadlineExceeded(EmoFeedbackError):
    """The call's time was over before its work was."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(EmoFeedbackError):
    """The caller gave up."""

    code = "CANCELLED"


class InternalError(EmoFeedbackError):
    """A defect on the serving side; the message carries a reference, never a stack."""

    code = "INTERNAL"
