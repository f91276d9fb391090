"""Addresses of services, with TLS and without, and who may not call."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path

import pytest

from emofeedback import TLS, AsyncClient, Client, FailedPrecondition, InvalidRequest
from emofeedback.client.channel import open_channel, parse_address


@pytest.mark.parametrize(
    ("address", "target", "secure"),
    [
        ("127.0.0.1:9000", "127.0.0.1:9000", False),
        ("feel-emofeedback:9000", "feel-emofeedback:9000", False),
        ("[::1]:9000", "[::1]:9000", False),
        ("https://feel.example", "feel.example:443", True),
        ("https://feel.example/", "feel.example:443", True),
        ("https://feel.example:8443", "feel.example:8443", True),
        ("https://[::1]", "[::1]:443", True),
    ],
)
def test_an_address_is_a_host_a_port_and_whether_tls_is_spoken(address: str, target: str, secure: bool) -> None:
    assert parse_address(address) == (target, secure)


@pytest.mark.parametrize(
    "address",
    ["", "localhost", ":9000", "localhost:", "localhost:x", "localhost:0", "localhost:65536", "http://localhost:80",
     "https://", "https://host/path", "https://ada:secret@host", "https://host?x=1", "dns:///host:1", "a b"],
)  # fmt: skip
@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_what_is_no_address_is_refused_when_the_client_is_made(kind: type, address: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^address: .* is not HOST:PORT or https://HOST"):
        kind(address)


def test_files_of_tls_are_named_where_they_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"gone\.pem can't be read: No such file"):
        open_channel("localhost:1", TLS(ca=tmp_path / "gone.pem"), [])


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="certificate and key go together"):
        open_channel("localhost:1", TLS(certificate=b"x"), [])


def test_the_private_key_is_not_shown() -> None:
    assert "secret" not in repr(TLS(certificate=b"x", key=b"secret"))


def test_a_forked_child_is_told_so_instead_of_waiting_for_ever() -> None:
    """As under multiprocessing's 'fork': the loop's thread and gRPC's are the parent's alone."""
    with Client("127.0.0.1:1") as client:
        client.close()  # the loop runs
        read, write = os.pipe()
        child = os.fork()
        if not child:
            signal.alarm(20)
            try:
                with warnings.catch_warnings(record=True) as warned:
                    try:
                        Client("127.0.0.1:1").judge.model()
                    except BaseException as error:
                        told = f"{type(error).__name__}: {error}"
                os.write(write, f"{told} {[str(warning.message) for warning in warned]}".encode())
            finally:
                os._exit(0)
        os.close(write)
        assert os.waitpid(child, 0)[1] == 0, "it hung"
        told = os.read(read, 1000).decode()
        os.close(read)
    assert told.startswith("FailedPrecondition: this process was forked from process")
    assert "spawn" in told and told.endswith(" []"), "no warning of Python's beside it"
