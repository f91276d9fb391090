"""Where a client calls and by which channel: plain on the own machine, TLS to a gateway; never over a fork."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest

PEM = bytes | str | PathLike[str]
"""A PEM file's content, or its path."""


@dataclass(frozen=True, kw_only=True)
class TLS:
    """How a client trusts a server, and shows who it is itself."""

    ca: PEM | None = None
    """Certificates of the authorities that are trusted; None: those that gRPC brings."""
    certificate: PEM | None = None
    """The client's own chain, for mutual TLS."""
    key: PEM | None = field(default=None, repr=False)
    """The client's private key; with `certificate`, or not at all."""
    server_name: str = ""
    """The name that the server's certificate must be for; empty: the address's host."""


def parse_address(address: str) -> tuple[str, bool]:
    """HOST:PORT, and whether TLS is spoken there: `https://HOST[:PORT]` says so, its port is 443 where it names none.

    Raises:
        InvalidRequest: it is neither.
    """
    secure = address.startswith("https://")
    try:
        parts = urlsplit(address if secure else f"//{address}")
        host, port = parts.hostname, parts.port or (443 if secure else 0)
    except ValueError:  # a port that is no number, or past 65535
        host, port = None, 0
    if not (host and port) or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidRequest.of("address", f"{address!r} is not HOST:PORT or https://HOST[:PORT]")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", secure


def open_channel(target: str, tls: TLS | None, options: list[tuple[str, Any]]) -> grpc.aio.Channel:
    """A channel to HOST:PORT, which connects with its first call.

    Raises:
        FailedPrecondition: a file of `tls` can't be read.
        InvalidRequest: of certificate and key only one is there.
    """
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    if (tls.certificate is None) != (tls.key is None):
        raise InvalidRequest.of("tls", "certificate and key go together")
    credentials = grpc.ssl_channel_credentials(_pem(tls.ca), _pem(tls.key), _pem(tls.certificate))
    if tls.server_name:
        options = [*options, ("grpc.ssl_target_name_override", tls.server_name)]
    return grpc.aio.secure_channel(target, credentials, options=options)


def _pem(given: PEM | None) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise FailedPrecondition(f"{given} can't be read: {error.strerror}") from error


def require_no_fork() -> None:
    """Refuses to work in a child of a process that has called services: gRPC's threads and the clients' event loop
    stay behind in the parent, and a call would wait for them for ever.

    Raises:
        FailedPrecondition: this is such a child.
    """
    if _first_process() != os.getpid():
        raise FailedPrecondition(
            f"this process was forked from process {_first_process()} after a client had been used there, which gRPC "
            "does not survive; start processes by 'spawn' (multiprocessing.get_context), or fork before the first call"
        )


@functools.cache
def _first_process() -> int:
    """The process that was the first to call anything, inherited by its forks."""
    return os.getpid()
