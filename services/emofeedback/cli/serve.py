"""`emofeedback serve`: the three services on this machine, until Ctrl-C, or SIGTERM, which lets calls finish."""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from pathlib import Path

from emofeedback.cli.display import waiting
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.observability.consoles import Consoles

_PORTS = (1, 65535)


def serve(
    profile: str, *, policies: str, port: int, http_port: int, http: bool, token: str, consoles: Consoles
) -> None:
    """Runs the services and says where they are.

    Args:
        policies: folder or fsspec URI of a store of policies; empty: the profile's own.
        http: the HTTP API as well, at `http_port`.

    Raises:
        InvalidRequest: no such profile, or no such port.
        FailedPrecondition: a port is taken, or Ray is not installed.
    """
    for name, number in (("port", port), ("http_port", http_port)):
        if not _PORTS[0] <= number <= _PORTS[1]:
            raise InvalidRequest.of(name, f"is {number}, it must lie in [{_PORTS[0]}, {_PORTS[1]}]")
    # Looked for, not imported: the services set Ray's environment before its first import.
    if importlib.util.find_spec("ray") is None:
        raise FailedPrecondition("Ray is not installed, the services need it: pip install 'emofeedback[serve]'")
    from emofeedback.profiles.overrides import load_profile
    from emofeedback.serving.local import serve_until_stopped

    load_profile(profile)  # before anything starts

    if policies and "://" not in policies:
        policies = str(Path(policies).resolve())  # replicas have a working directory of their own
    with ExitStack() as starting:
        progress = starting.enter_context(waiting(consoles))

        def ready(address: str) -> None:
            starting.close()
            consoles.say(f"Generator, judge and optimizer answer at {address} (profile {profile}). Ctrl-C ends them.")
            if http:
                consoles.say(f"The HTTP API answers at http://127.0.0.1:{http_port}/v1.")

        def lost() -> None:
            consoles.say("Ray has lost a process that it can't do without: the services are started again.")

        serve_until_stopped(
            profile,
            policies=policies,
            port=port,
            http_port=http_port,
            http=http,
            token=token,
            progress=progress,
            ready=ready,
            lost=lost,
        )
