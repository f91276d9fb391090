"""What every RPC of every service has in common: the token, errors as rich statuses, work not done twice."""

from emofeedback.rpc.idempotency import RequestWindow
from emofeedback.rpc.server import Context, stream_rpc, unary_rpc

__all__ = ["Context", "RequestWindow", "stream_rpc", "unary_rpc"]
