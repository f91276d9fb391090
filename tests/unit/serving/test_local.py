"""Ray and Serve on a machine that is too busy for the times that they give themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import ray
from ray import serve
from ray.serve import context, schema

from emofeedback.domain.errors import Unavailable
from emofeedback.serving import local, ray_local
from emofeedback.serving.local import deploy, serve_until_stopped
from emofeedback.serving.ray_local import local_cluster

TOO_SLOW = Exception("The current node timed out during startup.")
CONFIG: dict[str, Any] = {"http_options": {}, "grpc_options": {}}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As it was, afterwards; nothing is waited for."""
    monkeypatch.setattr(ray_local, "_END_SECONDS", 0.0)
    with mock.patch.dict(os.environ):
        yield


def test_a_start_of_ray_that_came_too_late_is_ended_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    left_over: list[subprocess.Popen[bytes]] = []

    def init(**_: Any) -> None:
        if not left_over:
            left_over.append(subprocess.Popen(["sleep", "600"]))
            raise TOO_SLOW

    monkeypatch.setattr(ray, "init", init)
    with local_cluster():
        assert left_over[0].wait() != 0


def test_a_ray_that_never_starts_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    init = mock.Mock(side_effect=TOO_SLOW)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(Unavailable, match=r"did not start: The current node timed out .* Try again"), local_cluster():
        pass
    assert init.call_count > 1


def test_a_proxy_that_takes_longer_than_serve_waits_is_waited_for_with_the_applications(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = mock.Mock()
    monkeypatch.setattr(serve, "start", mock.Mock(side_effect=TimeoutError("HTTP proxies not available after 60s.")))
    monkeypatch.setattr(serve, "status", lambda: mock.Mock(applications={}))
    monkeypatch.setattr(context, "_get_global_client", lambda: client)
    monkeypatch.setattr(schema, "ServeDeploySchema", mock.Mock())
    deploy(CONFIG)
    client.deploy_apps.assert_called_once()
    client.wait_for_proxies_serving.assert_called_once()


def test_a_serve_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    died = ray.exceptions.ActorDiedError()
    monkeypatch.setattr(serve, "start", mock.Mock(side_effect=died))
    with pytest.raises(Unavailable, match=r"^Ray Serve did not start: The actor died[^\n]*Try again"):
        deploy(CONFIG)


def test_serve_reads_how_long_a_proxy_may_take() -> None:
    script = "from ray.serve._private.constants import PROXY_READY_CHECK_TIMEOUT_S as s; print(s)"
    environment = os.environ | local._ON_ONE_MACHINE
    said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert float(said.stdout) == local._START_SECONDS


def test_services_whose_ray_has_lost_its_state_are_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    @contextmanager
    def services(*_: Any, **__: Any) -> Iterator[str]:
        happened.append("started")
        yield "127.0.0.1:9000"
        happened.append("ended")

    def whole() -> bool:
        if happened.count("started") == 2:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(local, "local_services", services)
    monkeypatch.setattr(local, "is_whole", whole)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    serve_until_stopped("nano", ready=happened.append, lost=lambda: happened.append("lost"))
    one = ["started", "127.0.0.1:9000"]
    assert happened == [*one, "lost", "ended", *one, "ended"]
