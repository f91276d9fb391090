"""The SDK over TLS: an own authority, mutual trust, and words for what goes wrong."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from emofeedback import TLS, FailedPrecondition
from emofeedback.judge.servicer import JudgeServicer
from emofeedback.v1.judge_pb2_grpc import add_JudgeServiceServicer_to_server
from support.certificates import Authority, Certificate
from support.fakes import JUDGE_MODEL, ScriptedJudge
from support.pictures import encoded, red
from support.scripted_services import Services

PACKAGES = str(Path(__file__).parents[2] / "services")
AUTHORITY = Authority()
SERVER = AUTHORITY.certify("localhost", "127.0.0.1")


@asynccontextmanager
async def behind_tls(server: Certificate = SERVER, clients: Authority | None = None) -> AsyncIterator[int]:
    """A judge at a port that speaks TLS; clients must show a certificate by their authority where there is one."""
    serving = grpc.aio.server()
    add_JudgeServiceServicer_to_server(JudgeServicer(ScriptedJudge(), "let-me-in"), serving)  # type: ignore[arg-type]
    credentials = grpc.ssl_server_credentials(
        [(server.key, server.certificate)], clients.pem if clients else None, require_client_auth=clients is not None
    )
    port = serving.add_secure_port("127.0.0.1:0", credentials)
    await serving.start()
    try:
        yield port
    finally:
        await serving.stop(None)


async def test_a_server_of_an_own_authority_answers_and_the_token_goes_along(connect: Any, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(AUTHORITY.pem)
    async with behind_tls() as port:
        for address in (f"https://localhost:{port}", f"127.0.0.1:{port}"):
            for given in (AUTHORITY.pem, ca, str(ca)):
                client = connect(address, tls=TLS(ca=given), token="let-me-in")
                assert await client.judge.model() == JUDGE_MODEL


async def test_the_command_trusts_the_authorities_that_its_environment_names(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.pem)
    (tmp_path / "red.png").write_bytes(encoded(red(size=(64, 64))))
    async with behind_tls() as port:
        words = ["assess", "red.png", "--address", f"https://localhost:{port}", "--token", "let-me-in"]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "emofeedback", *words],
            env={**os.environ, "PYTHONPATH": PACKAGES, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "ca.pem"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0 and "red.png" in done.stdout, done.stderr


async def test_mutual_tls_lets_in_who_shows_a_certificate(connect: Any) -> None:
    own = AUTHORITY.certify("a-client")
    async with behind_tls(clients=AUTHORITY) as port:
        address = f"https://localhost:{port}"
        mutual = TLS(ca=AUTHORITY.pem, certificate=own.certificate, key=own.key)
        assert await connect(address, tls=mutual, token="let-me-in").judge.model() == JUDGE_MODEL


async def test_a_certificate_for_another_name_is_taken_where_the_client_says_that_name(connect: Any) -> None:
    async with behind_tls(AUTHORITY.certify("feel.example")) as port:
        tls = TLS(ca=AUTHORITY.pem, server_name="feel.example")
        assert await connect(f"https://localhost:{port}", tls=tls, token="let-me-in").judge.model() == JUDGE_MODEL


@pytest.mark.parametrize("trouble", ["unknown authority", "another name", "no TLS there"])
async def test_a_connection_that_can_not_be_trusted_is_an_error_at_once(
    connect: Any, services: Services, trouble: str
) -> None:
    server = AUTHORITY.certify("feel.example") if trouble == "another name" else SERVER
    tls = None if trouble == "unknown authority" else TLS(ca=AUTHORITY.pem)
    async with behind_tls(server) as port:
        address = services.address if trouble == "no TLS there" else f"127.0.0.1:{port}"
        began = time.monotonic()
        with pytest.raises(FailedPrecondition, match=r"no TLS with https://.*TLS\(ca=\.\.\.\)"):
            await connect(f"https://{address}", tls=tls).judge.model()
        assert time.monotonic() - began < 60, "a call that waits does so for two minutes"
