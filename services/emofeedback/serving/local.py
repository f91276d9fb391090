"""The three services on this machine, behind one loopback gRPC port, by the configuration that a cluster runs.

Deploying the same configuration again, changed, replaces what has changed: new replicas come up, old ones finish their
calls. `drain` is how the services end without breaking any.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from emofeedback.domain.errors import FailedPrecondition, Unavailable
from emofeedback.domain.limits import TOKEN_VARIABLE
from emofeedback.generator.preflight import preflight as preflight_generator
from emofeedback.judge.preflight import preflight as preflight_judge
from emofeedback.profiles.overrides import load_profile
from emofeedback.serving.config import ENVIRONMENT, HTTP, serve_config
from emofeedback.serving.ray_local import LOOPBACK, is_whole, listen_on_loopback, local_cluster

_START_SECONDS = 900.0
"""Given to the applications to come up: models may have to be fetched first."""
_ON_ONE_MACHINE = {
    # Else Serve kills a proxy that takes more than five seconds to start, as it does on a busy machine.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": f"{_START_SECONDS:g}",
    # Else Ray keeps a worker for every core, though nobody but the replicas needs one: 47 MB each.
    "RAY_num_workers_soft_limit": "0",
}
"""What Serve and Ray have no key for, beside `ENVIRONMENT`."""
_LOOK_SECONDS = 0.2
"""Between two looks at the applications' states."""
_WATCH_SECONDS = 1.0
"""Between two looks at Ray's processes."""


def _in_silence(waited_for: str) -> None:
    """What says nothing of what is waited for."""


@contextmanager
def local_services(
    profile: str,
    *,
    policies: str = "",
    port: int = 9000,
    http_port: int = 8000,
    http: bool = False,
    token: str = "",
    progress: Callable[[str], None] = _in_silence,
) -> Iterator[str]:
    """Run the three services on this machine for as long as the context lasts; yields their address.

    Args:
        policies: fsspec URI of a store of policies; empty: the profile's own.
        http: the HTTP API as well, at `http_port`.
        progress: told what is being waited for, whenever that changes.

    Raises:
        FailedPrecondition: a port is taken, and the message names the option that changes it; or this machine or its
            disk lacks what the profile's models need.
        Unavailable: Ray or an application did not come up.
        InvalidRequest: no such profile.
    """
    settings = load_profile(profile)
    preflight_generator(settings.generator)
    preflight_judge(settings.judge)
    _require_free(port, "--port")
    _require_free(http_port, "--http-port")
    if token:
        os.environ[TOKEN_VARIABLE] = token
    os.environ.update(ENVIRONMENT | _ON_ONE_MACHINE)  # read when Ray is imported
    address = f"{LOOPBACK}:{port}"
    progress("starting Ray")
    with local_cluster(setup=listen_on_loopback):
        door = {"hosts": [LOOPBACK, "localhost"]} if http else None
        config = serve_config(profile, policies=policies, address=address, http=door)
        deploy(config | {"http_options": {"host": LOOPBACK, "port": http_port}}, progress)
        yield address


def deploy(config: Mapping[str, Any], progress: Callable[[str], None] = _in_silence) -> None:
    """Brings Serve, on the Ray of this process, to a configuration, and waits until it is there.

    Args:
        progress: told what is being waited for, whenever that changes.

    Raises:
        Unavailable: Serve or an application did not come up; the message says what Serve says.
    """
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.config import gRPCOptions
    from ray.serve.context import _get_global_client
    from ray.serve.exceptions import RayServeException
    from ray.serve.schema import ServeDeploySchema

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    progress("starting Ray Serve")
    try:
        with suppress(TimeoutError):  # after a minute, which nothing changes; the applications are waited for longer
            serve.start(http_options=dict(config["http_options"]), grpc_options=gRPCOptions(**config["grpc_options"]))
        # What `serve run CONFIG.yaml` does, and Ray's dashboard for `serve deploy`; nothing public does it in process.
        client = _get_global_client()
        client.deploy_apps(ServeDeploySchema(**config))
        _wait_for_applications(progress)
        client.wait_for_proxies_serving()
    except (RayError, RayServeException, TimeoutError) as error:
        message = str(error).partition("\n")[0]
        raise Unavailable(f"Ray Serve did not start: {message} Is the machine very busy? Try again.") from error


def _wait_for_applications(progress: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while waiting := [name for name, state in _states().items() if state != "RUNNING"]:
        progress(f"not ready yet: {', '.join(waiting)}")
        if time.monotonic() > deadline:
            raise Unavailable(f"not ready after {_START_SECONDS:g} s: {', '.join(waiting)}; is the machine very busy?")
        time.sleep(_LOOK_SECONDS)


def drain(profile: str) -> None:
    """Ends the applications; returns once they have finished every call, or had the time that the profile gives.

    The optimizer and the HTTP API go first: their calls need the other two. Whoever calls from now on finds no such
    application.
    """
    from ray import serve

    serving = load_profile(profile).serving
    for names, seconds in (
        ([HTTP, "optimizer"], serving.optimizer.drain_seconds),
        (["generator", "judge"], max(serving.generator.drain_seconds, serving.judge.drain_seconds)),
    ):
        for name in set(names) & serve.status().applications.keys():
            serve.delete(name, _blocking=False)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not set(names).isdisjoint(serve.status().applications):
            time.sleep(_LOOK_SECONDS)


def serve_until_stopped(
    profile: str,
    *,
    policies: str = "",
    port: int = 9000,
    http_port: int = 8000,
    http: bool = False,
    token: str = "",
    progress: Callable[[str], None] = _in_silence,
    ready: Callable[[str], None],
    lost: Callable[[], None],
) -> None:
    """The services, until SIGTERM, after which calls under way are finished first, or SIGINT, after which not.

    `progress` is told what is being waited for, `ready` is called with the address once they answer. Where Ray loses a
    process that it can't do without, `lost` is called, and everything is started again.
    """
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a script started us in the background
    ports = {"port": port, "http_port": http_port}
    while True:
        with local_services(profile, policies=policies, http=http, token=token, progress=progress, **ports) as address:
            signal.signal(signal.SIGTERM, lambda *_: stop.set())  # only now: Ray sets one of its own when it starts
            try:
                ready(address)
                while is_whole():
                    if stop.wait(_WATCH_SECONDS):
                        drain(profile)
                        return
                lost()
            except KeyboardInterrupt:
                return
        progress = _in_silence


def _states() -> dict[str, str]:
    """The state of each application.

    Raises:
        Unavailable: one has failed.
    """
    from ray import serve

    applications = serve.status().applications
    for name, application in applications.items():
        if application.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise Unavailable(f"the {name} did not come up: {application.message}")
    return {name: str(application.status.value) for name, application in applications.items()}


def _require_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise FailedPrecondition(
                f"port {port} on {LOOPBACK} can't be used ({error.strerror}); choose another with {option}"
            ) from error
