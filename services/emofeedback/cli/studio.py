"""`emofeedback studio`: the studio's page and the HTTP API on loopback, until Ctrl-C."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import socket
import webbrowser
from contextlib import suppress
from pathlib import Path

from emofeedback.backends import Engines
from emofeedback.cli.display import loading
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.observability.consoles import Consoles

LOOPBACK = "127.0.0.1"
_NEEDED = ("fastapi", "python_multipart", "uvicorn")
_GOODBYE_SECONDS = 2
"""Given to calls under way at the end; a run that is cut can be continued."""


def studio(runs: Path, *, port: int, token: str, browser: bool, engines: Engines, consoles: Consoles) -> None:
    """Serves the page and opens it.

    Args:
        runs: folder of the gallery and of new runs.
        port: 0 takes a free one.
        token: what every call must bring; empty: everybody on this machine may call.
        browser: open the page in one.

    Raises:
        InvalidRequest: no such port.
        FailedPrecondition: the port is taken, or a library is missing.
    """
    if not 0 <= port <= 65535:
        raise InvalidRequest.of("port", f"is {port}, it must lie in [0, 65535]")
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise FailedPrecondition(f"{', '.join(missing)} is not installed: pip install 'emofeedback[http]'")
    listener = _listening(port)
    with listener:
        address = f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
        with loading(consoles, engines.profile):
            from emofeedback.optimizer.memory import observed

            reach = tuple(seen.point for seen in observed(engines.memory)) if engines.memory else ()
            opened = engines.services()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a script started us in the background

        async def serve() -> None:
            import uvicorn

            from emofeedback.http import HttpSettings, create_app
            from emofeedback.observability.metrics import export_to_page

            async with opened as services:
                settings = HttpSettings(
                    token=token,
                    hosts=(LOOPBACK, "localhost"),
                    runs=runs.resolve(),
                    profile=engines.profile,
                    reach=reach,
                )
                app = create_app(services, settings, export_to_page())
                config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GOODBYE_SECONDS)
                consoles.say(f"The studio is at {address} (runs in {runs}). Ctrl-C ends it.")
                if browser:
                    await asyncio.to_thread(webbrowser.open, address)
                await uvicorn.Server(config).serve(sockets=[listener])

        with suppress(KeyboardInterrupt):
            asyncio.run(serve())


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise FailedPrecondition(
            f"port {port} on {LOOPBACK} can't be used ({error.strerror}); choose another with --port"
        ) from error
    return listener
