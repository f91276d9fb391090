"""Training runs survive the wire unchanged, and requests are checked on their way in."""

from __future__ import annotations

import typing
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofeedback import wire
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
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

examples = settings(max_examples=40)
texts = st.text(st.characters(codec="utf-8"), max_size=30)
counts = st.integers(0, 2**31 - 1)
names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
figures = st.dictionaries(texts, st.floats(allow_nan=False), max_size=4)
times = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
runs = st.builds(
    TrainingRun,
    name=names,
    config=texts,
    state=st.sampled_from(RunState),
    iteration=counts,
    iterations=counts,
    metrics=figures,
    panel=figures,
    created=times,
    updated=times,
    message=texts,
    folder=texts,
    policies=texts,
)
events: dict[type, st.SearchStrategy[RunEvent]] = {
    RunStateChanged: st.builds(RunStateChanged, run=runs),
    IterationDone: st.builds(IterationDone, iteration=counts, metrics=figures),
    PanelMeasured: st.builds(PanelMeasured, iteration=counts, metrics=figures),
    PolicyPublished: st.builds(PolicyPublished, iteration=counts, policy=texts),
    Alarm: st.builds(Alarm, iteration=counts, text=texts),
}


@pytest.mark.parametrize("kind", typing.get_args(RunEvent))
def test_every_event_of_a_run_arrives_unchanged(kind: type) -> None:
    @examples
    @given(events[kind])
    def arrives(event: RunEvent) -> None:
        message = wire.run_event_to_proto(event)
        assert wire.run_event_from_proto(pb.WatchRunResponse.FromString(message.SerializeToString())) == event

    arrives()


@examples
@given(st.builds(RunRequest, name=names, config=texts.filter(str.strip), request_id=texts))
def test_run_requests_arrive_unchanged(request: RunRequest) -> None:
    assert wire.run_request_from_proto(wire.run_request_to_proto(request)) == request


def test_a_run_is_resumed_without_a_configuration() -> None:
    request = RunRequest(name="calm", resume=True)
    assert wire.run_request_from_proto(wire.run_request_to_proto(request)) == request
    with pytest.raises(InvalidRequest, match="config: must be empty: a run is resumed with its own"):
        wire.run_request_from_proto(pb.CreateRunRequest(name="calm", config="seed = 1", resume=True))


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "../up", "Big", "ä", "-x", "a b", "a\n", "x" * 65])
def test_a_name_that_could_lead_out_of_the_runs_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"name: is .*it must be 1 to 64 small letters"):
        wire.run_request_from_proto(pb.CreateRunRequest(name=name, config="seed = 1"))


def test_a_run_needs_a_configuration_of_a_bounded_length() -> None:
    with pytest.raises(InvalidRequest, match="config: is empty"):
        wire.run_request_from_proto(pb.CreateRunRequest(name="calm"))
    with pytest.raises(InvalidRequest, match=r"config: has 20001 characters, at most 20000"):
        wire.run_request_from_proto(pb.CreateRunRequest(name="calm", config="#" * (LIMITS.text_characters + 1)))


def test_what_this_version_does_not_know_is_said() -> None:
    with pytest.raises(InvalidRequest, match=r"run\.state: is 77"):
        wire.run_from_proto(pb.Run(name="calm", state=77))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="event: is missing or of an unknown kind"):
        wire.run_event_from_proto(pb.WatchRunResponse())


@pytest.mark.parametrize("seconds", [-(2**62), 253_402_300_800, 2**62])
def test_a_time_that_is_none_is_not_read_as_one(seconds: int) -> None:
    message = wire.run_to_proto(
        TrainingRun(
            name="calm",
            config="",
            state=RunState.RUNNING,
            iteration=0,
            iterations=1,
            metrics={},
            panel={},
            created=datetime(2026, 1, 1, tzinfo=UTC),
            updated=datetime(2026, 1, 1, tzinfo=UTC),
            message="",
            folder="",
            policies="",
        )
    )
    message.updated.seconds = seconds
    with pytest.raises(InvalidRequest, match=rf"^run\.updated: is {seconds} s after 1970, which is no time$"):
        wire.run_from_proto(message)
