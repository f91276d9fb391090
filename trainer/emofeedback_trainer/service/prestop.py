"""`python -m emofeedback_trainer.service.prestop`: asks the training runs in this container to end, and waits for it.

What Kubernetes runs before it stops a pod (`preStop`). Ray's head doesn't pass the container's signal on to the
commands that it runs, so without this a cancelled or evicted run would never hear of it.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress

import psutil


def runs() -> list[psutil.Process]:
    """The processes of this container that train into a folder; not the shells that started them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "flow-grpo" in words and "--out" in words:
            found.append(process)
    return found


def interrupt(processes: Sequence[psutil.Process]) -> None:
    """Asks them to end and waits until they have; how long, the pod's grace period decides."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    psutil.wait_procs(processes)


if __name__ == "__main__":
    interrupt(runs())
