"""Where a command's work is done: by engines in this process, or by services at an address.

Both give the same judge and the same stream of events, so a command never asks which it has. Heavy imports and the
loading of models happen when `judge` or `optimizer` is called, before any event loop runs, so that Ctrl-C ends them.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.optimization import OptimizationEvent, OptimizationRequest

if TYPE_CHECKING:
    from emofeedback.generator.local import LocalGenerator
    from emofeedback.judge.local import LocalJudge
    from emofeedback.profiles.profile import Profile

Optimize = Callable[[OptimizationRequest], AsyncIterator[OptimizationEvent]]
"""One run of the loop."""


class Engines(Protocol):
    """Gives a command what it works with."""

    @property
    def profile(self) -> str | None:
        """Name of the profile; None where the services at an address have their own."""
        ...

    def judge(self) -> AbstractAsyncContextManager[Judge]:
        """A judge, for as long as the context lasts."""
        ...

    def optimizer(self) -> AbstractAsyncContextManager[Optimize]:
        """The loop, for as long as the context lasts."""
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
        FailedPrecondition: only the client is installed, and there is no address.
    """
    if address is None:
        try:
            from emofeedback.profiles.overrides import load_profile
            from emofeedback.profiles.profile import with_calibrations, with_policies
        except ImportError as error:  # the client alone comes without pydantic
            raise _not_installed(error) from error
        settings = load_profile(profile or "nano", changes)
        settings = with_policies(settings, policies) if policies else settings
        return InProcess(with_calibrations(settings, calibrations) if calibrations else settings)
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise InvalidRequest.of("address", f"{address!r} is not HOST:PORT")
    if changes:
        raise InvalidRequest.of("--set", "has no effect beside --address: the services have a profile of their own")
    if profile is not None:
        raise InvalidRequest.of("profile", "has no effect beside --address: the services have a profile of their own")
    for field, store in (("policies", policies), ("calibrations", calibrations)):
        if store:
            raise InvalidRequest.of(field, "has no effect beside --address: the services have a store of their own")
    return AtAddress(address, token)


class InProcess:
    """The engines of a profile, loaded into this process."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    @property
    def profile(self) -> str:
        return self._profile.name

    def judge(self) -> AbstractAsyncContextManager[Judge]:
        try:
            silence_libraries()
            from emofeedback.judge.local import LocalJudge
        except ImportError as error:
            raise _not_installed(error) from error
        return self._running_judge(LocalJudge.load(self._profile.judge))

    def optimizer(self) -> AbstractAsyncContextManager[Optimize]:
        try:
            silence_libraries()
            from emofeedback.generator.local import LocalGenerator
            from emofeedback.judge.local import LocalJudge
        except ImportError as error:
            raise _not_installed(error) from error
        generator = LocalGenerator.load(self._profile.generator)
        try:
            judge = LocalJudge.load(self._profile.judge)
        except BaseException:
            generator.close()
            raise
        return self._running_loop(generator, judge)

    @staticmethod
    @asynccontextmanager
    async def _running_judge(judge: LocalJudge) -> AsyncIterator[Judge]:
        try:
            yield judge
        finally:
            judge.close()

    @asynccontextmanager
    async def _running_loop(self, generator: LocalGenerator, judge: LocalJudge) -> AsyncIterator[Optimize]:
        from emofeedback.optimizer.loop import optimize

        try:
            yield partial(optimize, generator=generator, judge=judge, settings=self._profile.optimizer)
        finally:
            generator.close()
            judge.close()


class AtAddress:
    """The three services behind one gRPC address."""

    profile = None

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._token = token

    @asynccontextmanager
    async def judge(self) -> AsyncIterator[Judge]:
        from emofeedback.client import AsyncClient

        async with AsyncClient(self._address, token=self._token) as client:
            yield client.judge

    @asynccontextmanager
    async def optimizer(self) -> AsyncIterator[Optimize]:
        from emofeedback.client import AsyncClient

        async with AsyncClient(self._address, token=self._token) as client:
            yield client.optimize


def silence_libraries() -> None:
    """Keeps the bars, hints and warnings of libraries off the terminal: only errors are for the user."""
    import diffusers
    import transformers

    warnings.simplefilter("ignore")
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def _not_installed(error: ImportError) -> FailedPrecondition:
    return FailedPrecondition(
        f"the engines are not installed ({error.name} is missing): "
        "pip install 'emofeedback[local]', or use services by --address"
    )
