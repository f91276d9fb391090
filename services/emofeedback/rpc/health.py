"""`grpc.health.v1`, as probes and load balancers of every kind ask: of Serve's proxy, for what is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
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
    """Asked for an application or a service by its full name, or, by an empty name, for all of them."""

    def __init__(
        self, running: Callable[[Any], Awaitable[Set[str]]], applications: Mapping[str, str] = APPLICATIONS
    ) -> None:
        """`running` says, given a call's context, which of the applications take calls; they are by service."""
        self._running = running
        self._applications = applications

    async def Check(self, request: Any, context: Any) -> Any:
        status = await self._status(request.service, context)
        if status == _UNKNOWN_SERVICE:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details(
                "asked for none of: " + ", ".join(sorted({*self._applications, *self._applications.values()}))
            )
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
        applications = set(self._applications.values())
        asked = {self._applications.get(service, service)} if service else applications
        if not asked <= applications:
            return int(_UNKNOWN_SERVICE)
        return int(_SERVING if asked <= await self._running(context) else _NOT_SERVING)
