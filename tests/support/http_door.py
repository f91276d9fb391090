"""The HTTP application over scripted services, on a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from emofeedback.client import AsyncServices
from emofeedback.http import HttpSettings, create_app


@contextmanager
def open_door(services: AsyncServices, **settings: Any) -> Iterator[str]:
    """Serves on a free loopback port in a thread of its own; yields the base address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(services, HttpSettings(**settings), lambda: b"emofeedback_images_total 3.0\n")
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start within 60 s"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
