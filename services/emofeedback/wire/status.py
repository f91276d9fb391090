"""Errors on the wire: our exceptions as `google.rpc.Status` (ErrorInfo, BadRequest, RetryInfo), and back."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from emofeedback.domain import errors
from emofeedback.domain.errors import MAX_VIOLATIONS, EmoFeedbackError, FieldViolation, InternalError, InvalidRequest

STATUS_KEY = "grpc-status-details-bin"
"""The trailing metadata in which gRPC carries a `google.rpc.Status`."""
DOMAIN = "emofeedback"
"""Says in ErrorInfo that the reason is the name of one of our exceptions."""
MAX_DETAILS = 1000
"""Characters of a message. Trailers together must stay under 8 KiB, or gRPC drops the whole status."""

ERRORS: dict[str, type[EmoFeedbackError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, EmoFeedbackError) and kind is not EmoFeedbackError
}
"""Our exceptions by the reason that names them."""


def status_from_error(error: EmoFeedbackError) -> Status:
    """The error as clients of every language know it; never anything but its message and its fields."""
    details: list[Message] = [ErrorInfo(domain=DOMAIN, reason=type(error).__name__)]
    if isinstance(error, InvalidRequest):
        details.append(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(field=v.field[:100], description=v.problem[:200])
                    for v in error.violations[:MAX_VIOLATIONS]
                ]
            )
        )
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=Code.Value(error.code), message=str(error)[:MAX_DETAILS])
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def error_from_status(data: bytes) -> EmoFeedbackError | None:
    """The exception of a serialized `google.rpc.Status`; None where it isn't one of ours."""
    status, info, bad, retry = Status(), ErrorInfo(), BadRequest(), RetryInfo()
    retry_after: float | None = None
    try:
        status.ParseFromString(data)
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(bad)
            if detail.Unpack(retry):
                retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    except DecodeError:
        return None
    kind = ERRORS.get(info.reason)
    if info.domain != DOMAIN or kind is None:
        return None
    if issubclass(kind, InvalidRequest):
        return kind(*(FieldViolation(v.field, v.description) for v in bad.field_violations))
    return kind(status.message, retry_after=retry_after)


def error_from_code(code: str, message: str) -> EmoFeedbackError:
    """The exception for a bare gRPC status code, as gRPC itself or a proxy in between sends it."""
    kind = next((kind for kind in ERRORS.values() if kind.code == code), InternalError)
    if issubclass(kind, InvalidRequest):
        return kind(FieldViolation("request", message))
    return kind(message)
