"""The trainer behind an address."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncGenerator, Hashable, Sequence, Set

from emofeedback import wire
from emofeedback.client.connection import Connection, Service, encoding
from emofeedback.domain.training import RunEvent, RunRequest, RunState, RunStateChanged, TrainingRun
from emofeedback.domain.validation import check_run_request, check_watch
from emofeedback.v1 import trainer_pb2 as pb
from emofeedback.v1.trainer_pb2_grpc import TrainerServiceStub

TRAINER = Service("trainer", TrainerServiceStub)


class TrainerClient:
    """Training runs of a trainer service. Its calls may be repeated like all others: runs are named."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, request: RunRequest) -> TrainingRun:
        """Queues a run, or one that has failed or was cancelled, to go on from its last checkpoint.

        Raises:
            InvalidRequest: a field is out of its limits, or the configuration's (`config.` and its dotted key).
            FailedPrecondition: there is a run of this name, or, to resume, it is not over or has finished.
            NotFound: no such run to resume.
        """
        identified = dataclasses.replace(request, request_id=request.request_id or str(uuid.uuid4()))
        with encoding(check_run_request, identified):
            message = wire.run_request_to_proto(identified)
        return await self._connection.unary(TRAINER, "CreateRun", message, lambda reply: wire.run_from_proto(reply.run))

    async def get(self, name: str) -> TrainingRun:
        """How a run stands. Raises `NotFound` where there is none of this name."""
        message = pb.GetRunRequest(name=name)
        return await self._connection.unary(TRAINER, "GetRun", message, lambda reply: wire.run_from_proto(reply.run))

    async def list(self, *, limit: int = 100) -> Sequence[TrainingRun]:
        """The newest runs first, without their configurations."""
        message = pb.ListRunsRequest(limit=limit)
        return await self._connection.unary(
            TRAINER, "ListRuns", message, lambda reply: tuple(map(wire.run_from_proto, reply.runs))
        )

    async def cancel(self, name: str) -> TrainingRun:
        """Ends a run after a checkpoint; the reply says how it stands while that is under way. Raises `NotFound`."""
        message = pb.CancelRunRequest(name=name)
        return await self._connection.unary(TRAINER, "CancelRun", message, lambda reply: wire.run_from_proto(reply.run))

    async def watch(self, name: str, *, from_iteration: int = 0) -> AsyncGenerator[RunEvent, None]:
        """What has happened since an iteration, then what happens, each event told once, until the run is over.

        A broken call goes on from the last iteration that was told about. A run may take longer than the deadlines
        of a client: `AsyncClient(address, deadlines=Deadlines(total=None, attempt=None))` waits for ever.

        Raises:
            NotFound: no such run.
        """
        furthest = from_iteration
        state: RunState | None = None

        def request() -> pb.WatchRunRequest:
            with encoding(check_watch, name, furthest):
                return pb.WatchRunRequest(name=name, from_iteration=furthest)

        def is_over(_: Set[Hashable]) -> bool:
            return state is not None and state.is_over

        async for event in self._connection.stream(
            TRAINER, "WatchRun", request, wire.run_event_from_proto, _identity, is_over
        ):
            if isinstance(event, RunStateChanged):
                if event.run.state is state:  # every try begins with it
                    continue
                state = event.run.state
            else:
                furthest = max(furthest, event.iteration)
            yield event


def _identity(event: RunEvent) -> Hashable:
    if isinstance(event, RunStateChanged):
        return RunStateChanged, event.run.state, event.run.updated
    return type(event), event.iteration
