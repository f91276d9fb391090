"""Runs a Serve configuration on this machine until it is interrupted: `python deployed.py CONFIG.yaml`.

Nothing of the configuration is changed but the interface that HTTP listens on: a laptop is not a pod.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import yaml

from emofeedback.serving.local import deploy
from emofeedback.serving.ray_local import LOOPBACK, listen_on_loopback, local_cluster


def main(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    with local_cluster(setup=listen_on_loopback):
        deploy(config | {"http_options": {**config["http_options"], "host": LOOPBACK}})
        print(f"answers at {LOOPBACK}:{config['grpc_options']['port']}", flush=True)
        stop.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
