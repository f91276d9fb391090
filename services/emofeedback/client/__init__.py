"""The SDK: the services at an address, for asyncio (`AsyncClient`) and without (`Client`)."""

from emofeedback.client.aio import AsyncClient, AsyncServices
from emofeedback.client.channel import TLS
from emofeedback.client.progress import Creation
from emofeedback.client.retries import Deadlines, Keepalive, RetryPolicy, Waiting
from emofeedback.client.sync import Client, Services

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncServices",
    "Client",
    "Creation",
    "Deadlines",
    "Keepalive",
    "RetryPolicy",
    "Services",
    "Waiting",
]
