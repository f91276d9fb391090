"""What a failed call means, as our exceptions, in words that say what to do."""

from __future__ import annotations

from typing import Any

import grpc

from emofeedback.domain.errors import (
    DeadlineExceeded,
    EmoFeedbackError,
    FailedPrecondition,
    InternalError,
    MessageTooLarge,
    NothingAnswers,
    ResourceExhausted,
    Unavailable,
)
from emofeedback.domain.limits import LIMITS
from emofeedback.wire.status import STATUS_KEY, error_from_code, error_from_status

_NOBODY_THERE = ("failed to connect", "resolving", "DNS")
"""How gRPC says that no server was reached, or none by that name."""

_NO_TRUST = ("handshake failed", "erification check")
"""How gRPC says that TLS failed: the one of an unknown authority or of no TLS at all, the other of a wrong name."""


_ENDED_WHILE_SENDING = "Internal error from Core"
"""What `grpc.aio` reports where a message can't be sent since the call is over, if that comes to light before the
service's own status has arrived: the status is lost then."""


def error_from_rpc(error: grpc.aio.AioRpcError, method: str, address: str) -> EmoFeedbackError:
    """The exception that the service raised, or what gRPC or a proxy on the way has to say."""
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == STATUS_KEY and isinstance(value, bytes):
            ours = error_from_status(value)
            if ours is not None:
                return ours
    return _bare(error.code(), error.details() or "no details", method, address)


def timed_out(method: str, address: str, seconds: float) -> EmoFeedbackError:
    """Nothing came in time; another try may be faster."""
    return _passing(DeadlineExceeded(f"{method}: nothing came from {address} within {seconds:g} s"))


def ended_early(method: str, address: str) -> EmoFeedbackError:
    """A stream that ends well and too early: so Serve's proxy tells of some replicas' deaths."""
    return Unavailable(f"{method}: {address} ended the stream before everything was told")


def too_large(method: str, size: int) -> MessageTooLarge:
    """The request itself is over the limit."""
    return MessageTooLarge(
        f"{method}: the request has {size} bytes, at most {LIMITS.message_bytes} are allowed; send fewer images a call"
    )


def _bare(code: grpc.StatusCode, details: str, method: str, address: str) -> EmoFeedbackError:
    match code:
        case grpc.StatusCode.UNAVAILABLE if any(sign in details for sign in _NO_TRUST):
            return FailedPrecondition(
                f"no TLS with {address}: {details}; is its certificate's authority in `TLS(ca=...)`, or in the file "
                "that GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names, is it for this host, and does the server speak TLS?"
            )
        case grpc.StatusCode.UNAVAILABLE if any(sign in details for sign in _NOBODY_THERE):
            return NothingAnswers(f"nothing answers at {address}; start it with `emofeedback serve` ({details})")
        case grpc.StatusCode.UNAVAILABLE:
            return Unavailable(f"{method}: the connection to {address} broke ({details})")
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in details:
            return MessageTooLarge(f"{method}: a message is over the limit of {address}: {details}")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return ResourceExhausted(f"{method}: {address} has no room for more requests ({details})")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return _passing(DeadlineExceeded(f"{method}: {address} did not finish in time"))
        case grpc.StatusCode.UNIMPLEMENTED:
            return FailedPrecondition(f"{address} does not offer {method}; is it EmoFeedback of this version?")
        case grpc.StatusCode.INTERNAL if details == _ENDED_WHILE_SENDING:
            return Unavailable(f"{method}: {address} ended the call while messages were being sent; why is not known")
        case grpc.StatusCode.INTERNAL | grpc.StatusCode.UNKNOWN:
            return _passing(InternalError(f"{method}: {address} broke off ({details})"))
    return error_from_code(code.name, f"{method}: {details}")


def _passing(error: EmoFeedbackError) -> EmoFeedbackError:
    """An error of the way to a service: unlike the same error from the service itself, another try may not meet it."""
    error.retryable = True
    return error
