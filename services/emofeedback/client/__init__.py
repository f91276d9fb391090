"""The SDK: the three services at an address, for asyncio (`AsyncClient`) and without (`Client`)."""

from emofeedback.client.aio import AsyncClient
from emofeedback.client.progress import Creation
from emofeedback.client.retries import Deadlines, Keepalive, RetryPolicy
from emofeedback.client.sync import Client

__all__ = ["AsyncClient", "Client", "Creation", "Deadlines", "Keepalive", "RetryPolicy"]
