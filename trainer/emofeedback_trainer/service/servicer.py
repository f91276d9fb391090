"""TrainerService on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from emofeedback import wire
from emofeedback.domain.validation import check_run_list, check_run_name, check_watch
from emofeedback.rpc import Context, stream_rpc, unary_rpc
from emofeedback.v1 import trainer_pb2 as pb
from emofeedback_trainer.service.supervisor import Supervisor

_LISTED = 100
"""Runs in a list that asks for no number."""


class TrainerServicer:
    """Serves the runs of a supervisor. Retries need no window: a run carries the id of the request that queued it."""

    def __init__(self, supervisor: Supervisor, token: str | None) -> None:
        self.token = token
        self._supervisor = supervisor

    @unary_rpc
    async def CreateRun(self, request: pb.CreateRunRequest, context: Context) -> pb.CreateRunResponse:
        run = await self._supervisor.create(wire.run_request_from_proto(request))
        return pb.CreateRunResponse(run=wire.run_to_proto(run))

    @unary_rpc
    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        check_run_name(request.name)
        return pb.GetRunResponse(run=wire.run_to_proto(await self._supervisor.get(request.name)))

    @unary_rpc
    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        limit = request.limit if request.HasField("limit") else _LISTED
        check_run_list(limit)
        return pb.ListRunsResponse(runs=map(wire.run_to_proto, await self._supervisor.list(limit)))

    @unary_rpc
    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        check_run_name(request.name)
        return pb.CancelRunResponse(run=wire.run_to_proto(await self._supervisor.cancel(request.name)))

    @stream_rpc
    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        check_watch(request.name, request.from_iteration)
        async with aclosing(self._supervisor.watch(request.name, request.from_iteration)) as events:
            async for event in events:
                yield wire.run_event_to_proto(event)
