"""The HTTP API as a Serve application of its own, `http`: a client of the services behind the proxy on its own node."""

# No `from __future__ import annotations`: as in `serving.apps`.

import os
from typing import Any

from pydantic import BaseModel, Field

from emofeedback.client import AsyncClient
from emofeedback.domain.limits import TOKEN_VARIABLE
from emofeedback.http import HttpSettings, create_app
from emofeedback.observability.metrics import export_to_page
from emofeedback.observability.replica import watch_replica
from emofeedback.serving.config import ADDRESS
from emofeedback.serving.options import POOL_LABEL

_CPUS = 0.25
"""Of a replica: it passes on what others compute."""
_CALLS = 256
"""Under way in one replica; the services behind it have limits of their own."""


class HttpArgs(BaseModel, extra="forbid"):
    """Arguments of the application in a Serve configuration."""

    address: str = ADDRESS
    """Where it finds the three services."""
    replicas: int = Field(default=1, ge=1)
    calls_per_minute: float = Field(default=HttpSettings.calls_per_minute, gt=0)
    """Of one token in one replica."""
    origins: list[str] = []
    """Other sites whose pages may call (CORS)."""
    hosts: list[str] = []
    """Names that it answers to; empty: any."""
    pool: str = ""
    """Pool of nodes that the replicas run on; empty: wherever there is room."""


class HttpDeployment:
    """A replica."""

    def __init__(self, args: HttpArgs) -> None:
        watch_replica("http")
        self._args = args

    def __serve_build_asgi_app__(self) -> Any:
        token = os.environ.get(TOKEN_VARIABLE, "")
        settings = HttpSettings(
            token=token,
            calls_per_minute=self._args.calls_per_minute,
            origins=tuple(self._args.origins),
            hosts=tuple(self._args.hosts),
        )
        return create_app(AsyncClient(self._args.address, token=token), settings, export_to_page())


def http_app(args: HttpArgs) -> Any:
    """The application "http"."""
    from ray import serve

    pool = {"label_selector": {POOL_LABEL: args.pool}} if args.pool else {}
    deployment = serve.deployment(serve.ingress()(HttpDeployment)).options(
        name="HttpDeployment",
        num_replicas=args.replicas,
        max_ongoing_requests=_CALLS,
        ray_actor_options={"num_cpus": _CPUS, **pool},
    )
    return deployment.bind(args)
