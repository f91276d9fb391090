"""`grpc.health.v1`, answered by Serve's proxy for what is behind it, as probes and load balancers of every kind ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Set
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthServicer

from emofeedback.rpc.gate import APPLICATIONS

_LOOK_SECONDS = 1.0
"""Between two looks for those who watch."""
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN_SERVICE = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(HealthServicer):  # type: ignore[misc]
    """Asked for an application or a service by its full name, or, by an empty name, for all three."""

    def __init__(self, running: Callable[[Any], Awaitable[Set[str]]]) -> None:
        """`running` says, given a call's context, which applications take calls."""
        self._running = running

    async def Check(self, request: Any, context: Any) -> Any:
        status = await self._status(request.service, context)
        if status == _UNKNOWN_SERVICE:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details("asked for none of: " + ", ".join(sorted({*APPLICATIONS, *APPLICATIONS.values()})))
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        told = None
        while True:
            status = await self._status(request.service, context)
            if status != told:
                yield health_pb2.HealthCheckResponse(status=status)
            told = status
            await asyncio.sleep(_LOOK_SECONDS)

    async def _status(self, service: str, context: Any) -> int:
        asked = {APPLICATIONS.get(service, service)} if service else set(APPLICATIONS.values())
        if not asked <= set(APPLICATIONS.values()):
            return int(_UNKNOWN_SERVICE)
        return int(_SERVING if asked <= await self._running(context) else _NOT_SERVING)
