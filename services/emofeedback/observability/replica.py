"""How a replica is watched: its metrics go through Ray, its spans to the collector that the environment names."""

from __future__ import annotations

import threading
import time

from emofeedback.observability.metrics import GPU_MEMORY, export_through_ray
from emofeedback.observability.tracing import export_traces

_GPU_SECONDS = 5.0
"""Between two looks at a GPU's memory; Prometheus scrapes every 15 to 60."""


def watch_replica(service: str, *, device: str = "cpu") -> None:
    """Call it in a replica's constructor, before its models are loaded.

    Args:
        service: generator, judge or optimizer.
        device: where the replica's models run, cpu or cuda.
    """
    export_through_ray()
    export_traces(service)
    if device == "cuda":
        threading.Thread(target=_watch_gpu_memory, name="gpu-memory", daemon=True).start()


def _watch_gpu_memory() -> None:
    """Looks at the whole GPU: vLLM's engine is a process of its own on the same one."""
    import torch

    if not torch.cuda.is_available():  # loading the models will say so
        return
    while True:
        free, total = torch.cuda.mem_get_info()
        GPU_MEMORY.record(total - free, state="used")
        GPU_MEMORY.record(total, state="total")
        time.sleep(_GPU_SECONDS)
