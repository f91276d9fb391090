"""Where the trainer's distributed work runs: the Ray cluster that RAY_ADDRESS names, or one on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from emofeedback.local_cluster import local_cluster


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Ray, for as long as the context lasts; a process that is connected already stays so.

    Raises:
        Unavailable: Ray did not start on this machine.
    """
    if not os.environ.get("RAY_ADDRESS"):
        with local_cluster():
            yield
        return
    import ray

    if ray.is_initialized():
        yield
        return
    ray.init(log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
