"""Where the trainer's distributed work runs: the Ray cluster that RAY_ADDRESS names, or one on this machine."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from emofeedback.serving.ray_local import LOOPBACK, local_cluster


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Ray, for as long as the context lasts; a process that is connected already stays so.

    Raises:
        Unavailable: Ray did not start on this machine.
    """
    # Asked of what is imported already: Ray must not be imported before `local_cluster` sets its environment.
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    if not os.environ.get("RAY_ADDRESS"):
        with local_cluster():
            yield
        return
    import ray

    ray.init(log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def torch_on_loopback() -> Any:
    """How Ray Train's torch workers on this machine find each other: as `TorchConfig()`, but at a port of loopback.

    Torch's own store binds every interface and has no setting for that.
    """
    from ray.train.torch import TorchConfig
    from ray.train.torch.config import _TorchBackend

    class LoopbackBackend(_TorchBackend):  # type: ignore[misc]
        def on_start(self, worker_group: Any, backend_config: Any) -> None:
            worker_group.execute(_meet_on_loopback)
            super().on_start(worker_group, backend_config)

    class LoopbackConfig(TorchConfig):  # type: ignore[misc]
        @property
        def backend_cls(self) -> type:
            return LoopbackBackend

    return LoopbackConfig()


def _meet_on_loopback() -> None:
    """In a worker: the store that the first worker opens for all gets a socket that is bound already."""
    rendezvous: Any = import_module("torch.distributed.rendezvous")  # a function of this name stands before the module
    open_store = rendezvous.TCPStore

    def open_on_loopback(*, port: int, is_master: bool, **options: Any) -> Any:
        if is_master:
            options["master_listen_fd"] = socket.create_server((LOOPBACK, port)).detach()
        return open_store(port=port, is_master=is_master, **options)

    rendezvous.TCPStore = open_on_loopback
