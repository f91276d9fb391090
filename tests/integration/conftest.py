"""Services that do as they are told, and clients of both kinds for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from emofeedback import AsyncClient, Client
from support.scripted_services import QUICK, Services, Threaded, serving


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
