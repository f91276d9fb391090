"""Where a command's work is done: by engines in this process, or by services at an address.

Both give the same judge and the same stream of events, so a command never asks which it has. Heavy imports and the
loading of models happen when `judge` or `optimizer` is called, before any event loop runs, so that Ctrl-C ends them.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import TYPE_CHECKING, Protocol

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest, NothingAnswers
from emofeedback.domain.optimization import OptimizationEvent, OptimizationRequest
from emofeedback.observability.console import say

if TYPE_CHECKING:
    from emofeedback.client import AsyncClient
    from emofeedback.client.aio import AsyncServices
    from emofeedback.client.retries import Waiting
    from emofeedback.judge.local import LocalJudge
    from emofeedback.profiles.profile import Profile

PATIENCE_SECONDS = 120.0
"""For which a command waits for services that don't answer."""

Optimize = Callable[[OptimizationRequest], AsyncGenerator[OptimizationEvent, None]]
"""One run of the loop."""


class Engines(Protocol):
    """Gives a command what it works with."""

    @property
    def profile(self) -> str | None:
        """Name of the profile; None where the services at an address have their own."""
        ...

    @property
    def memory(self) -> str:
        """File of pictures that this generator made in earlier runs (`optimizer.memory`); empty: none is known."""
        ...

    def check_policy(self, name: str) -> None:
        """Refuse a policy that requests would name in vain, before anything is loaded; services say it themselves.

        Args:
            name: empty: the profile's own.

        Raises:
            NotFound: there is none in the profile's store; the message names the known ones.
        """
        ...

    def judge(self) -> AbstractAsyncContextManager[Judge]:
        """A judge, for as long as the context lasts."""
        ...

    def optimizer(self) -> AbstractAsyncContextManager[Optimize]:
        """The loop, for as long as the context lasts."""
        ...

    def services(self) -> AbstractAsyncContextManager[AsyncServices]:
        """Generator, judge and loop, for as long as the context lasts."""
        ...


Connect = Callable[[str | None, str | None, str, str, str, Sequence[str]], Engines]
"""From profile, address, token, stores of policies and calibrations, and changes to engines; see `connect`."""


def connect(
    profile: str | None,
    address: str | None,
    token: str,
    policies: str = "",
    calibrations: str = "",
    changes: Sequence[str] = (),
) -> Engines:
    """Services where there is an address, else engines in process; nothing heavy happens yet.

    Args:
        policies: fsspec URI of a store of policies; empty: the profile's own.
        calibrations: fsspec URI of a store of personal calibrations; empty: the profile's own.
        changes: `KEY=VALUE` for keys of the profile.

    Raises:
        InvalidRequest: no such profile, a profile, changes or a store beside an address, or what is no address.
    """
    if address is None:
        from emofeedback.profiles.overrides import load_profile
        from emofeedback.profiles.profile import with_calibrations, with_policies

        settings = load_profile(profile or "nano", changes)
        settings = with_policies(settings, policies) if policies else settings
        return InProcess(with_calibrations(settings, calibrations) if calibrations else settings)
    from emofeedback.client.channel import parse_address

    parse_address(address)
    if changes:
        raise InvalidRequest.of("--set", "has no effect beside --address: the services have a profile of their own")
    if profile is not None:
        raise InvalidRequest.of("profile", "has no effect beside --address: the services have a profile of their own")
    for field, store in (("policies", policies), ("calibrations", calibrations)):
        if store:
            raise InvalidRequest.of(field, "has no effect beside --address: the services have a store of their own")
    return AtAddress(address, token)


class InProcess:
    """The engines of a profile, loaded into this process when they are asked for."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    @property
    def profile(self) -> str:
        return self._profile.name

    @property
    def memory(self) -> str:
        return self._profile.optimizer.memory

    def check_policy(self, name: str) -> None:
        from emofeedback.in_process import check_policy

        check_policy(self._profile, name)

    def judge(self) -> AbstractAsyncContextManager[Judge]:
        from emofeedback.in_process import load_judge, preflight, silence_libraries

        preflight(self._profile, generator=False)
        silence_libraries()
        return _judging(load_judge(self._profile))

    def optimizer(self) -> AbstractAsyncContextManager[Optimize]:
        return _optimizing(self.services())

    def services(self) -> AbstractAsyncContextManager[AsyncServices]:
        from emofeedback.in_process import local, preflight, silence_libraries

        preflight(self._profile)
        silence_libraries()
        return local(self._profile)


class AtAddress:
    """The three services behind one gRPC address."""

    profile = None
    memory = ""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._token = token

    def check_policy(self, name: str) -> None:
        """Nothing is loaded here."""

    @asynccontextmanager
    async def judge(self) -> AsyncIterator[Judge]:
        async with self._client() as client:
            yield client.judge

    def optimizer(self) -> AbstractAsyncContextManager[Optimize]:
        return _optimizing(self._client())

    def services(self) -> AbstractAsyncContextManager[AsyncServices]:
        return self._client()

    def _client(self) -> AsyncClient:
        """Says on standard error what it waits for: who reads it may start the services, and the command goes on."""
        from emofeedback.client import AsyncClient, RetryPolicy
        from emofeedback.client.retries import Seldom

        retry = RetryPolicy(patience=PATIENCE_SECONDS, on_wait=Seldom(_say_that_it_waits))
        return AsyncClient(self._address, token=self._token, retry=retry)


def _say_that_it_waits(waiting: Waiting, goes_on: bool) -> None:
    """Why a call waits, and while that stays the same, only for how long it has; of a silence also when it is given
    up."""
    silence = f", {waiting.waited:.0f} s without an answer" if waiting.waited else ""
    told = f"still so{silence}; next try in {waiting.seconds:.1f} s" if goes_on else str(waiting)
    most = f", given up after {PATIENCE_SECONDS:.0f} s" if isinstance(waiting.error, NothingAnswers) else ""
    say(f"note: {told}{most}", sys.stderr)


@asynccontextmanager
async def _judging(judge: LocalJudge) -> AsyncIterator[Judge]:
    with closing(judge):
        yield judge


@asynccontextmanager
async def _optimizing(opened: AbstractAsyncContextManager[AsyncServices]) -> AsyncIterator[Optimize]:
    async with opened as services:
        yield services.optimize
