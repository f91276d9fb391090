"""Where the trainer's distributed work runs: the Ray cluster that RAY_ADDRESS names, or one on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from emofeedback.serving.ray_local import local_cluster


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
