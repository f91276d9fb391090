"""`emofeedback-train serve`: the trainer service, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.limits import LIMITS, TOKEN_VARIABLE
from emofeedback.observability.console import say
from emofeedback.observability.metrics import export_over_http
from emofeedback.observability.tracing import export_traces
from emofeedback.rpc.gate import Gate
from emofeedback.rpc.health import Health
from emofeedback.rpc.places import CallerLimits
from emofeedback.serving.kubernetes import connect
from emofeedback.storage.files import held
from emofeedback.v1.trainer_pb2_grpc import add_TrainerServiceServicer_to_server
from emofeedback_trainer.service.allowance import ITS_OWN, Allowance, read_allowance
from emofeedback_trainer.service.backends.base import Backend
from emofeedback_trainer.service.backends.process import Processes
from emofeedback_trainer.service.metrics import record_forever
from emofeedback_trainer.service.servicer import TrainerServicer
from emofeedback_trainer.service.store import RunStore
from emofeedback_trainer.service.supervisor import Supervisor

_EXAMPLES = """examples:
  emofeedback-train serve --runs runs
  EMOFEEDBACK_TOKEN=secret emofeedback-train serve --runs runs --port 9200 --parallel 2
  emofeedback-train serve --runs runs --backend ray           jobs of the Ray that `ray start --head` has started
  emofeedback-train serve --runs /runs --backend kubernetes --job-template rayjob.yaml
                                                              RayJobs of a cluster with KubeRay; the chart does this

A run gets the service's own: built-in profiles and prompts, engines in its process, policies in its folder. More:
  emofeedback-train serve --allow 'addresses=["127.0.0.1:9000"]' --allow 'policies=["s3://bucket/policies"]'
"""
GRACE_SECONDS = 60.0
"""Given to a cancelled run, to say so and to end."""
_END_SECONDS = 2.0
"""Given to calls under way when the service ends."""
HANGS_SECONDS = 300.0
"""A service that has not been through its runs for so long tells its probe that it isn't well."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train serve`."""
    parser.description = "Serve the trainer: runs are queued, started and watched. They outlive the service."
    parser.epilog = _EXAMPLES
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the runs")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=9100, help="port to listen on (default: 9100)")
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time, the others wait (default: 1)")
    parser.add_argument(
        "--metrics-port", type=int, default=0, help="port of a page of Prometheus metrics (default: 0, there is none)"
    )
    parser.add_argument(
        "--backend",
        choices=("process", "ray", "kubernetes"),
        default="process",
        help="what a run is: a process of this machine, a Ray job, a RayJob of Kubernetes (default: process)",
    )
    parser.add_argument(
        "--ray-address",
        default="http://127.0.0.1:8265",
        metavar="URL",
        help="Ray's dashboard (default: this machine's)",
    )
    parser.add_argument("--job-template", type=Path, metavar="FILE", help="manifest of a RayJob, to be filled in")
    parser.add_argument(
        "--namespace", default="", metavar="NS", help="of the RayJobs (default: the pod's or context's)"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what runs may ask for, written as in TOML: addresses, policies, profiles, prompts (lists of texts), "
        "iterations, groups, images, workers; may be repeated",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Serves until SIGINT or SIGTERM. The bearer token that every call must bring is in `EMOFEEDBACK_TOKEN`."""
    for name, value, low, high in (
        ("port", arguments.port, 1, 65535),
        ("metrics-port", arguments.metrics_port, 0, 65535),
        ("parallel", arguments.parallel, 1, 64),
    ):
        if not low <= value <= high:
            raise InvalidRequest.of(f"--{name}", f"is {value}, it must lie in [{low}, {high}]")
    export_traces("trainer")
    metrics = export_over_http(arguments.host, arguments.metrics_port) if arguments.metrics_port else nullcontext()
    with metrics:
        asyncio.run(_serve_until_ended(arguments))


async def _serve_until_ended(arguments: argparse.Namespace) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with serving(
        arguments.runs,
        _backend(arguments),
        host=arguments.host,
        port=arguments.port,
        parallel=arguments.parallel,
        allowance=read_allowance(arguments.allow),
        token=os.environ.get(TOKEN_VARIABLE, ""),
    ) as address:
        say(f"The trainer answers at {address}, runs in {arguments.runs}. Ctrl-C ends it, runs go on.")
        await ended.wait()


def _backend(arguments: argparse.Namespace) -> Backend:
    """What the options name. Only what is asked for is imported."""
    if arguments.backend == "process":
        return Processes()
    if arguments.backend == "ray":
        from emofeedback_trainer.service.backends.ray import RayJobs

        return RayJobs(arguments.ray_address, grace=GRACE_SECONDS)
    if arguments.job_template is None:
        raise InvalidRequest.of("--job-template", "is missing: the manifest of a RayJob, as the chart brings it")
    cluster = connect(namespace=arguments.namespace)
    from emofeedback_trainer.service.backends.kubernetes import KubernetesJobs

    return KubernetesJobs(cluster, arguments.job_template)


@asynccontextmanager
async def serving(
    folder: Path,
    backend: Backend,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    parallel: int = 1,
    allowance: Allowance = ITS_OWN,
    token: str = "",
    grace: float = GRACE_SECONDS,
    interval: float = 0.5,
) -> AsyncIterator[str]:
    """The service for as long as the context lasts; yields its address. Port 0 takes a free one, for the others see
    `Supervisor`.

    Raises:
        FailedPrecondition: the port is taken, the folder can't be written, or another service has it.
    """
    store = RunStore(folder)
    with held(store.service_directory()):
        supervisor = Supervisor(store, backend, parallel=parallel, allowance=allowance, grace=grace, interval=interval)
        options = [("grpc.max_receive_message_length", LIMITS.message_bytes), ("grpc.so_reuseport", 0)]
        server = grpc.aio.server(options=options)
        Gate(token, limits=CallerLimits.of()).stand_before(server)
        add_TrainerServiceServicer_to_server(TrainerServicer(supervisor, token), server)  # type: ignore[arg-type]

        async def well(_: object) -> Set[str]:
            return {"trainer"} if supervisor.silent < HANGS_SECONDS else frozenset()

        add_HealthServicer_to_server(Health(well, {"emofeedback.v1.TrainerService": "trainer"}), server)
        try:
            port = server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise FailedPrecondition(f"port {port} on {host} can't be used; choose another with --port") from error
        await server.start()
        tending = asyncio.create_task(supervisor.tend_forever())
        recording = asyncio.create_task(record_forever(supervisor))
        try:
            yield f"{host}:{port}"
        finally:
            tending.cancel()
            recording.cancel()
            await server.stop(_END_SECONDS)
