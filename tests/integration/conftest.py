"""Services that do as they are told, and clients of both kinds for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emofeedback import AsyncClient, Client
from emofeedback.backends import Connect
from emofeedback.cli.main import main
from support.scripted_services import QUICK, ScriptedEngines, Services, Threaded, serving


@pytest.fixture(params=[AsyncClient, Client])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients of either kind for an address; both are closed at the end."""
    clients: list[Client] = []

    def make(address: str, **options: Any) -> Any:
        client = request.param(address, **{"retry": QUICK, **options})
        if isinstance(client, AsyncClient):
            return client
        clients.append(client)
        return Threaded(client)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    async with serving(Services()) as running:
        yield running


@pytest.fixture
def engines() -> ScriptedEngines:
    return ScriptedEngines()


@pytest.fixture
def run(engines: ScriptedEngines, tmp_path: Path) -> Callable[..., int]:
    """Runs the command; `OUT` stands for a run directory that does not exist yet."""
    connecting: Connect = engines.connect

    def run(*arguments: str) -> int:
        given = [str(tmp_path / "run") if argument == "OUT" else argument for argument in arguments]
        try:
            return main(given, connect=connecting)
        except SystemExit as exit:
            assert isinstance(exit.code, int)
            return exit.code

    return run
