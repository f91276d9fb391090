"""Ray on this machine, on loopback, for as long as a context lasts.

Ray facts that shape this file. Ray gives a node the machine's outside address even where it is told 127.0.0.1, but for
systems on which it forms no clusters; called one of those, all its processes bind loopback. Serve's gRPC servers (the
proxy's and each replica's own) bind every interface and have no setting for that, so local workers narrow the address
before they start (`listen_on_loopback`: private places of Ray, hence Ray is pinned and a test looks at the sockets).
Proxies look for a replica at its node's address, so that is where it listens: loopback, unless other nodes may join.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from emofeedback.domain.errors import FailedPrecondition, Unavailable

LOOPBACK = "127.0.0.1"

_OBJECT_STORE_BYTES = 256 * 1024 * 1024
_END_SECONDS = 5.0
"""Given to Ray's processes to end by themselves."""
_STARTS = 3
"""How often Ray is started before it counts as one that doesn't start."""


@contextmanager
def local_cluster(*, setup: Callable[[], None] | None = None) -> Iterator[None]:
    """Ray on this machine, on loopback, for as long as the context lasts; `setup` runs at every worker's start.

    Raises:
        FailedPrecondition: Ray could not read a path or an argument of this process.
        Unavailable: Ray did not start.
    """
    _require_unicode()
    # Ray reads these when it is imported. The token is for this machine's other users; without clusters of several
    # machines (its name for it is of other systems) all ports are on loopback.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    before = _descendants()
    try:
        for left in reversed(range(_STARTS)):
            try:
                _start_ray(setup)
                break
            except Unavailable:
                if not left:
                    raise
                _end_ray(before)
        yield
    finally:
        _end_ray(before)


def is_whole() -> bool:
    """Whether the two processes live that a Ray of this process can't lose: the keeper of its state, and its node's.

    Without the first, calls are answered for a minute more; then all of Ray ends, and this process with it.
    """
    alive = set()
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            alive |= {process.name()} if process.status() != psutil.STATUS_ZOMBIE else set()
    return {"gcs_server", "raylet"} <= alive


def listen_on_loopback() -> None:
    """Runs at the start of every local worker: Serve's proxies then take calls at 127.0.0.1, and replicas at their
    node's address, instead of every interface."""
    import ray
    from ray._common import tls_utils
    from ray.serve._private import default_impl

    def add_loopback_address(server: Any, address: str) -> int:
        port: int = server.add_insecure_port(address.replace("[::]", LOOPBACK))
        return port

    def add_nodes_address(server: Any, address: str) -> int:
        port: int = server.add_insecure_port(address.replace("[::]", ray.util.get_node_ip_address()))
        return port

    default_impl.add_grpc_address = add_loopback_address
    tls_utils.add_port_to_grpc_server = add_nodes_address
    if replica := sys.modules.get("ray.serve._private.replica"):  # it has taken the function by name already
        replica.add_port_to_grpc_server = add_nodes_address  # type: ignore[attr-defined]


def _require_unicode() -> None:
    """Ray sends these as UTF-8, and would fail on them only after seconds, with a traceback."""
    for text in (sys.executable, str(Path.cwd()), *sys.argv):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise FailedPrecondition(f"Ray can't read {text!r} in this locale: set PYTHONUTF8=1, or a UTF-8 locale")


def _descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end_ray(before: set[psutil.Process]) -> None:
    """Ends Ray and all that it has started since `before` was looked at."""
    import ray

    # Serve's own shutdown takes up to ten seconds; ending Ray ends every process that it started, but for some of its
    # agents when it is interrupted, or fails, while it starts: they would notice only later.
    started = _descendants() - before
    ray.shutdown()
    _, alive = psutil.wait_procs(list(started), timeout=_END_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _start_ray(setup: Callable[[], None] | None) -> None:
    import ray

    try:
        ray.init(
            address="local",  # else Ray joins a cluster that somebody else's `ray start` left on this machine
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            # Replicas ask for fractions of a core; a machine with one core must still fit them all.
            num_cpus=max(4, os.cpu_count() or 1),
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address=LOOPBACK,
            # Ray hands the path of Python to a shell as it is: one with a space would be two words there.
            runtime_env={"py_executable": shlex.quote(sys.executable)}
            | ({"worker_process_setup_hook": setup} if setup else {}),
        )
    except Exception as error:  # Ray raises bare exceptions when its processes don't come up in time
        raise Unavailable(
            f"Ray did not start: {error} Is the machine very busy or out of memory? Try again."
        ) from error
