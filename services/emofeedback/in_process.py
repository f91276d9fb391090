"""The SDK without a server: the same generator, judge and loop, by engines in this process.

    with emofeedback.local("nano") as engines:
        creation = engines.create("a park bench", emotion="awe")

Models are loaded when `local` is called, before any event loop runs, so that Ctrl-C ends it.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from emofeedback.client.aio import AsyncServices
from emofeedback.client.sync import Services
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.optimization import OptimizationEvent, OptimizationRequest
from emofeedback.profiles.overrides import load_profile
from emofeedback.profiles.profile import OptimizerSettings, Profile

if TYPE_CHECKING:
    from emofeedback.generator.local import LocalGenerator
    from emofeedback.judge.local import LocalJudge


def local(profile: str | Profile = "nano") -> Local:
    """Generator, judge and loop of a profile, loaded into this process.

    Args:
        profile: a built-in one's name, a .toml file, or the profile itself.

    Returns:
        A context: by `with`, its methods block as `Client`'s do; by `async with`, they are `AsyncClient`'s.

    Raises:
        InvalidRequest: no such profile.
        FailedPrecondition: the engines are not installed, or a model can't be had or does not run here.
    """
    settings = profile if isinstance(profile, Profile) else load_profile(profile)
    preflight(settings)
    with _installed():
        from emofeedback.generator.local import LocalGenerator
    generator = LocalGenerator.load(settings.generator)
    try:
        return Local(AsyncLocal(generator, load_judge(settings), settings.optimizer))
    except BaseException:
        generator.close()
        raise


def preflight(profile: Profile, *, generator: bool = True) -> None:
    """What can be known about a profile's models before the libraries that run them are imported, which takes seconds.

    Args:
        generator: look at the generator too; else at the judge alone.

    Raises:
        FailedPrecondition: the engines are not installed, or a model can't be had or does not run here.
    """
    with _installed():
        from emofeedback.generator.preflight import preflight as preflight_generator
        from emofeedback.judge.preflight import preflight as preflight_judge

        if generator:
            preflight_generator(profile.generator)
        preflight_judge(profile.judge)


def check_policy(profile: Profile, name: str) -> None:
    """Whether a policy that requests will name is there, before anything is imported that could paint with it.

    Args:
        name: empty: the profile's own.

    Raises:
        NotFound: it is not; the message names the known ones.
        FailedPrecondition: the engines are not installed, or the store can't be used.
        Unavailable: the store can't be reached.
    """
    with _installed():
        from emofeedback.generator.preflight import check_policies

        check_policies(profile.generator, [name])


def load_judge(profile: Profile) -> LocalJudge:
    """The judge alone; whoever takes it closes it.

    Raises:
        FailedPrecondition: the engines are not installed, or a model can't be had or does not run here.
    """
    with _installed():
        from emofeedback.judge.local import LocalJudge

        return LocalJudge.load(profile.judge)


class AsyncLocal(AsyncServices):
    """Engines in this process, for asyncio; they may be used from several event loops."""

    def __init__(self, generator: LocalGenerator, judge: LocalJudge, settings: OptimizerSettings) -> None:
        self.generator: LocalGenerator = generator
        self.judge: LocalJudge = judge
        self._settings = settings

    def optimize(self, request: OptimizationRequest) -> AsyncGenerator[OptimizationEvent, None]:
        """See `AsyncServices.optimize`."""
        from emofeedback.optimizer.loop import optimize

        return optimize(request, generator=self.generator, judge=self.judge, settings=self._settings)

    async def close(self) -> None:
        """Ends all calls under way and frees the models."""
        self.generator.close()
        self.judge.close()


class Local(Services):
    """Engines in this process, for code without an event loop; by `async with` they are `AsyncLocal`."""

    def __init__(self, engines: AsyncLocal) -> None:
        super().__init__(engines)
        self._engines = engines

    async def __aenter__(self) -> AsyncLocal:
        return self._engines

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._engines.close()


def silence_libraries() -> None:
    """Keeps the bars, hints and warnings of libraries off a command's terminal: only errors are for the user.

    Raises:
        FailedPrecondition: the engines are not installed.
    """
    with _installed():
        import diffusers
        import transformers

    warnings.simplefilter("ignore")
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise FailedPrecondition(
            f"the engines are not installed ({error.name} is missing): "
            "pip install 'emofeedback[nano]' ('emofeedback[local]' for other models), or use services at an address"
        ) from error
