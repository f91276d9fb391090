"""Where a process and its descendants listen."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import psutil


def listening(pid: int) -> dict[str, set[str]]:
    """The processes that listen, by the address at which they do."""
    found: dict[str, set[str]] = {}
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found.setdefault(connection.laddr.ip, set()).add(process.name())
    return found


def beyond_loopback(pid: int) -> dict[str, set[str]]:
    """Those that somebody on another machine could reach."""
    return {address: names for address, names in listening(pid).items() if not _is_loopback(address)}


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
