"""The three services as Ray Serve applications: separate, each with its own replicas and its own scaling.

`local_services` brings all of them up on this machine, behind one loopback gRPC port. The `*_app` builders are what a
Serve config names as `import_path`, so a cluster runs the same code:

    applications:
      - name: generator
        route_prefix: /generator
        import_path: emofeedback.serving:generator_app
        args: {profile: nano}

Ray facts that shape this file. Serve's gRPC proxy binds every interface and has no setting for that, so local workers
narrow the address before the proxy starts (`listen_on_loopback`: a private hook of Ray, hence Ray is pinned and a test
looks at the sockets). Ray's own ports do the same and are guarded by Ray's token authentication instead.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from pydantic import BaseModel

from emofeedback.client import AsyncClient
from emofeedback.errors import FailedPrecondition, Unavailable
from emofeedback.generator.layout import check as check_generator
from emofeedback.generator.service import GeneratorServicer
from emofeedback.judge.assess import check as check_judge
from emofeedback.judge.service import JudgeServicer
from emofeedback.optimizer.service import PromptOptimizerServicer
from emofeedback.settings import LIMITS, TOKEN_VARIABLE, Profile, Scaling, load_profile, with_policies
from emofeedback.telemetry import watch_replica

SERVICER_FUNCTIONS = [
    "emofeedback.v1.generator_pb2_grpc.add_GeneratorServiceServicer_to_server",
    "emofeedback.v1.judge_pb2_grpc.add_JudgeServiceServicer_to_server",
    "emofeedback.v1.optimizer_pb2_grpc.add_PromptOptimizerServiceServicer_to_server",
]
"""What Serve's gRPC proxy answers to."""

_OBJECT_STORE_BYTES = 256 * 1024 * 1024
_LOOPBACK = "127.0.0.1"
_END_SECONDS = 5.0
"""Given to Ray's processes to end by themselves."""


class AppArgs(BaseModel):
    """Arguments of an application in a Serve config."""

    profile: str = "nano"
    policies: str = ""
    """fsspec URI of a store of policies that the generator takes instead of the profile's."""
    address: str = f"{_LOOPBACK}:9000"
    """Where the optimizer finds the other two: by default the proxy on its own node."""


class GeneratorDeployment(GeneratorServicer):
    """A replica of the generator."""

    def __init__(self, profile: Profile) -> None:
        from emofeedback.generator.engine import GeneratorEngine

        watch_replica("generator", device=profile.generator.device)
        super().__init__(GeneratorEngine.load(profile.generator), _token())


class JudgeDeployment(JudgeServicer):
    """A replica of the judge, with the scorer beside it."""

    def __init__(self, profile: Profile) -> None:
        from emofeedback.judge.assess import LocalJudge

        watch_replica("judge", device=profile.judge.device)
        super().__init__(LocalJudge.load(profile.judge), _token())


class PromptOptimizerDeployment(PromptOptimizerServicer):
    """A replica of the agent: a gRPC client of the other two."""

    def __init__(self, profile: Profile, address: str) -> None:
        watch_replica("optimizer")
        client = AsyncClient(address, token=_token())
        super().__init__(client.generator, client.judge, profile.optimizer, _token())


def generator_app(args: AppArgs) -> Any:
    """The application "generator"."""
    profile = load_profile(args.profile)
    profile = with_policies(profile, args.policies) if args.policies else profile
    return _deployment(GeneratorDeployment, profile.serving.generator).bind(profile)


def judge_app(args: AppArgs) -> Any:
    """The application "judge"."""
    profile = load_profile(args.profile)
    return _deployment(JudgeDeployment, profile.serving.judge).bind(profile)


def optimizer_app(args: AppArgs) -> Any:
    """The application "optimizer"."""
    profile = load_profile(args.profile)
    return _deployment(PromptOptimizerDeployment, profile.serving.optimizer).bind(profile, args.address)


APPLICATIONS: dict[str, Callable[[AppArgs], Any]] = {
    "generator": generator_app,
    "judge": judge_app,
    "optimizer": optimizer_app,
}


@contextmanager
def local_services(
    profile: str, *, policies: str = "", port: int = 9000, http_port: int = 8000, token: str = ""
) -> Iterator[str]:
    """Run the three services on this machine for as long as the context lasts; yields their address.

    Args:
        policies: fsspec URI of a store of policies; empty: the profile's own.

    Raises:
        FailedPrecondition: a port is taken, and the message names the option that changes it; or this machine or its
            disk lacks what the profile's models need.
        Unavailable: Ray or an application did not come up.
        InvalidRequest: no such profile.
    """
    settings = load_profile(profile)
    check_generator(settings.generator)
    check_judge(settings.judge)
    _require_free(port, "--port")
    _require_free(http_port, "--http-port")
    if token:
        os.environ[TOKEN_VARIABLE] = token
    os.environ["RAY_SERVE_GRPC_MAX_MESSAGE_SIZE"] = str(LIMITS.message_bytes)  # read when Ray is imported
    address = f"{_LOOPBACK}:{port}"
    with local_cluster(setup=listen_on_loopback):
        from ray import serve
        from ray.serve.config import gRPCOptions

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.start(
            http_options={"host": _LOOPBACK, "port": http_port},
            grpc_options=gRPCOptions(port=port, grpc_servicer_functions=SERVICER_FUNCTIONS),
        )
        args = AppArgs(profile=profile, policies=policies, address=address)
        serve.run_many(
            [
                serve.RunTarget(target=build(args), name=name, route_prefix=f"/{name}")
                for name, build in APPLICATIONS.items()
            ]
        )
        yield address


@contextmanager
def local_cluster(*, setup: Callable[[], None] | None = None) -> Iterator[None]:
    """Ray on this machine, on loopback, for as long as the context lasts; `setup` runs at every worker's start.

    Raises:
        Unavailable: Ray did not start.
    """
    # Ray reads these when it is imported: its usage reports off, its ports closed to whoever lacks the token.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    before = _descendants()
    try:
        _start_ray(setup)
        yield
    finally:
        # Serve's own shutdown takes up to ten seconds; ending Ray ends every process that it started, but for some
        # of its agents when it is interrupted while it starts: they would notice only later.
        started = _descendants() - before
        ray.shutdown()
        _, alive = psutil.wait_procs(list(started), timeout=_END_SECONDS)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def serve_until_interrupted(
    profile: str,
    *,
    policies: str = "",
    port: int = 9000,
    http_port: int = 8000,
    token: str = "",
    ready: Callable[[str], None],
) -> None:
    """The services, until SIGINT or SIGTERM. `ready` is called with the address once they answer."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a script started us in the background
    with local_services(profile, policies=policies, port=port, http_port=http_port, token=token) as address:
        ready(address)
        try:
            stop.wait()
        except KeyboardInterrupt:
            return


def listen_on_loopback() -> None:
    """Runs at the start of every local worker: Serve's gRPC proxy then binds 127.0.0.1 instead of every interface."""
    from ray.serve._private import default_impl

    def add_loopback_address(server: Any, address: str) -> None:
        server.add_insecure_port(address.replace("[::]", _LOOPBACK))

    default_impl.add_grpc_address = add_loopback_address


def _descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _start_ray(setup: Callable[[], None] | None) -> None:
    import ray

    try:
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            # Replicas ask for fractions of a core; a machine with one core must still fit them all.
            num_cpus=max(4, os.cpu_count() or 1),
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address=_LOOPBACK,
            runtime_env={"worker_process_setup_hook": setup} if setup else {},
        )
    except Exception as error:  # Ray raises bare exceptions when its processes don't come up in time
        raise Unavailable(
            f"Ray did not start: {error} Is the machine very busy or out of memory? Try again."
        ) from error


def _deployment(servicer: type, scaling: Scaling) -> Any:
    from ray import serve

    replicas: dict[str, Any] = {"num_replicas": scaling.min_replicas}
    if scaling.max_replicas != scaling.min_replicas:
        bounds = {"min_replicas": scaling.min_replicas, "max_replicas": scaling.max_replicas}
        replicas = {"autoscaling_config": bounds}
    return serve.deployment(
        servicer,
        ray_actor_options={"num_cpus": scaling.cpus, "num_gpus": scaling.gpus},
        max_ongoing_requests=scaling.max_ongoing_requests,
        max_queued_requests=scaling.max_queued_requests,
        **replicas,
    )


def _token() -> str:
    return os.environ.get(TOKEN_VARIABLE, "")


def _require_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError as error:
            raise FailedPrecondition(
                f"port {port} on {_LOOPBACK} can't be used ({error.strerror}); choose another with {option}"
            ) from error
