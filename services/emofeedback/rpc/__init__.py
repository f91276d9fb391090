"""What every RPC of every service has in common: the token, errors as rich statuses, work not done twice."""

from emofeedback.rpc.calls import Context, stream_rpc, unary_rpc
from emofeedback.rpc.window import RequestWindow

__all__ = ["Context", "RequestWindow", "stream_rpc", "unary_rpc"]
