"""Runs of the trainer and their events, to the wire and back."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from emofeedback.domain import validation as checks
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.training import (
    Alarm,
    IterationDone,
    PanelMeasured,
    PolicyPublished,
    RunEvent,
    RunRequest,
    RunState,
    RunStateChanged,
    TrainingRun,
)
from emofeedback.v1 import trainer_pb2 as pb

_STATES = {state: pb.RunState.Value(f"RUN_STATE_{state.name}") for state in RunState}
_KNOWN_STATES = {value: state for state, value in _STATES.items()}


def run_request_to_proto(request: RunRequest) -> pb.CreateRunRequest:
    return pb.CreateRunRequest(
        name=request.name, config=request.config, resume=request.resume, request_id=request.request_id
    )


def run_request_from_proto(message: pb.CreateRunRequest) -> RunRequest:
    """Raises `InvalidRequest` where a field is out of its limits."""
    request = RunRequest(name=message.name, config=message.config, resume=message.resume, request_id=message.request_id)
    checks.check_run_request(request)
    return request


def run_to_proto(run: TrainingRun) -> pb.Run:
    return pb.Run(
        name=run.name,
        config=run.config,
        state=_STATES[run.state],
        iteration=run.iteration,
        iterations=run.iterations,
        figures=run.metrics,
        panel=run.panel,
        created=_time_to_proto(run.created),
        updated=_time_to_proto(run.updated),
        message=run.message,
        folder=run.folder,
        policies=run.policies,
    )


def run_from_proto(message: pb.Run) -> TrainingRun:
    """Raises `InvalidRequest` where the run is in a state that this version doesn't know, or at a time that is none."""
    if message.state not in _KNOWN_STATES:
        raise InvalidRequest.of("run.state", f"is {message.state}, this version doesn't know it")
    return TrainingRun(
        name=message.name,
        config=message.config,
        state=_KNOWN_STATES[message.state],
        iteration=message.iteration,
        iterations=message.iterations,
        metrics=dict(message.figures),
        panel=dict(message.panel),
        created=_time_from_proto(message.created, "run.created"),
        updated=_time_from_proto(message.updated, "run.updated"),
        message=message.message,
        folder=message.folder,
        policies=message.policies,
    )


def run_event_to_proto(event: RunEvent) -> pb.WatchRunResponse:
    match event:
        case RunStateChanged():
            return pb.WatchRunResponse(state_changed=pb.RunStateChanged(run=run_to_proto(event.run)))
        case IterationDone():
            finished = pb.IterationDone(iteration=event.iteration, figures=event.metrics)
            return pb.WatchRunResponse(iteration_done=finished)
        case PanelMeasured():
            measured = pb.PanelMeasured(iteration=event.iteration, figures=event.metrics)
            return pb.WatchRunResponse(panel_measured=measured)
        case PolicyPublished():
            published = pb.PolicyPublished(iteration=event.iteration, policy=event.policy)
            return pb.WatchRunResponse(policy_published=published)
        case Alarm():
            return pb.WatchRunResponse(alarm=pb.Alarm(iteration=event.iteration, text=event.text))


def run_event_from_proto(message: pb.WatchRunResponse) -> RunEvent:
    """Raises `InvalidRequest` where the message holds no event that this version knows."""
    match message.WhichOneof("event"):
        case "state_changed":
            return RunStateChanged(run=run_from_proto(message.state_changed.run))
        case "iteration_done":
            finished = message.iteration_done
            return IterationDone(iteration=finished.iteration, metrics=dict(finished.figures))
        case "panel_measured":
            measured = message.panel_measured
            return PanelMeasured(iteration=measured.iteration, metrics=dict(measured.figures))
        case "policy_published":
            published = message.policy_published
            return PolicyPublished(iteration=published.iteration, policy=published.policy)
        case "alarm":
            return Alarm(iteration=message.alarm.iteration, text=message.alarm.text)
        case _:
            raise InvalidRequest.of("event", "is missing or of an unknown kind")


def _time_from_proto(stamp: Timestamp, field: str) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest.of(field, f"is {stamp.seconds} s after 1970, which is no time") from error


def _time_to_proto(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
