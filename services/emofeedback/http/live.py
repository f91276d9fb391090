"""Runs that are kept: each has a folder, goes on when its caller leaves, and is found again by its name.

A run under way lives in this process. Whoever follows it hears all that has happened, but for the steps of finished
pictures, and then what happens. It may wait after every round; then, or after a cut, a person can go on with it, with
another prompt where they want.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from emofeedback.client.aio import AsyncServices
from emofeedback.concurrency import cancel
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, NotFound, ResourceExhausted
from emofeedback.domain.optimization import (
    ImagePainted,
    OptimizationRequest,
    PaintingStep,
    RoundFinished,
)
from emofeedback.domain.validation import check_optimization_request
from emofeedback.http.answers import event_content, event_name
from emofeedback.http.errors import error_content, unexpected
from emofeedback.runs.directory import RESULT, RunDirectory, folder_of, read_run
from emofeedback.runs.report import write_report
from emofeedback.runs.run import OptimizationRun, to_json
from emofeedback.storage.files import held, write_json

_MOST = 8
"""Runs under way at once; the generator's own queue is behind them."""
_REMEMBERED = 32
"""Runs that are over and whose events can still be heard."""

Told = tuple[str, dict[str, Any]]
"""Name and content of an event."""


class LiveRun:
    """One run under way."""

    def __init__(self, directory: RunDirectory, request: OptimizationRequest, *, pause: bool) -> None:
        self._directory = directory
        self._request = request
        self._pause = pause
        self._history: list[Told] = []
        self._followers: set[asyncio.Queue[Told | None]] = set()
        self.over = False
        self.paused = False
        """Over, and waits for a person to go on with it."""

    async def run(self, services: AsyncServices) -> None:
        """The run to its end, to its pause, or until it is cancelled; an error is its last event."""
        try:
            with held(self._directory.path):
                await self._run(services)
                await asyncio.to_thread(write_report, self._directory)
        except asyncio.CancelledError:
            self._tell(("stopped", {}))
            raise
        except Exception as error:
            self._tell(("error", error_content(unexpected(error))))
        finally:
            self.over = True
            for follower in self._followers:
                follower.put_nowait(None)

    async def _run(self, services: AsyncServices) -> None:
        async with aclosing(services.optimize(self._request)) as events:
            async for event in events:
                await asyncio.to_thread(self._directory.record, event)
                told = event_name(event), event_content(event, self._where)
                self._tell(told, keep=not isinstance(event, PaintingStep))
                finished = len(self._directory.run.rounds)
                if self._pause and isinstance(event, RoundFinished) and finished < self._request.rounds:
                    self.paused = True
                    self._tell(("paused", {"round": finished - 1}))
                    return

    async def follow(self) -> AsyncGenerator[Told, None]:
        """What has happened, and what happens, to the end of the run."""
        queue: asyncio.Queue[Told | None] = asyncio.Queue()
        for before in self._history:
            queue.put_nowait(before)
        if self.over:
            queue.put_nowait(None)
        self._followers.add(queue)
        try:
            while (told := await queue.get()) is not None:
                yield told
        finally:
            self._followers.discard(queue)

    def _tell(self, told: Told, *, keep: bool = True) -> None:
        if keep:
            self._history.append(told)
        for follower in self._followers:
            follower.put_nowait(told)

    def _where(self, event: ImagePainted) -> dict[str, str]:
        return {"url": f"/v1/runs/{self._directory.path.name}/images/{event.round}/{event.image.index}"}


class LiveRuns:
    """All runs under way in this process, and the folder that keeps them and those before."""

    def __init__(self, services: AsyncServices, root: Path, profile: str | None) -> None:
        self._services = services
        self._root = root
        self._profile = profile
        self._live: dict[str, tuple[LiveRun, asyncio.Task[None]]] = {}

    def start(self, request: OptimizationRequest, *, pause: bool) -> str:
        """Begins a run; returns its name.

        Raises:
            ResourceExhausted: too many are under way.
            InvalidRequest, FailedPrecondition: its folder can't be made.
        """
        path = folder_of(self._root, request.prompt, resume=False)
        directory = RunDirectory.open(path, OptimizationRun(request=request, profile=self._profile))
        return self._begin(directory, request, pause=pause)

    def go_on(
        self, name: str, *, prompt: str | None = None, rounds: int | None = None, seed: int | None = None, pause: bool
    ) -> str:
        """Goes on with a run that is cut, paused or finished.

        Args:
            prompt: what the next round paints; None: what the loop had written.
            rounds: at most, all together; None: as many as were asked for, and at least one more.
            seed: of the first picture of a round from now on; None: as before.

        Raises:
            FailedPrecondition: it is under way, or can't be read.
            NotFound: there is none of this name.
            InvalidRequest: the rounds, the prompt or the seed are out of their limits.
        """
        if self.is_live(name):
            raise FailedPrecondition(f"run {name!r} is under way: stop it first")
        path = self.folder(name)
        run = read_run(path)
        finished = len(run.rounds)
        if prompt is not None and not finished:
            raise InvalidRequest.of("prompt", "can be changed only once a round is finished")
        asked = dataclasses.replace(run.request, rounds=rounds or max(run.request.rounds, finished + 1))
        if asked.rounds <= finished:
            raise InvalidRequest.of("rounds", f"is {asked.rounds}, the run has finished {finished} already")
        changed = dataclasses.replace(asked, seed=asked.seed if seed is None else seed)
        check_optimization_request(changed)
        if prompt is not None:
            check_optimization_request(dataclasses.replace(asked, prompt=prompt))
        directory = RunDirectory.open(path, dataclasses.replace(run, request=asked), resume=True)
        rest = directory.run
        if prompt is not None:
            last = dataclasses.replace(rest.rounds[-1], optimized_prompt=prompt, further=())
            rest = dataclasses.replace(rest, rounds=(*rest.rounds[:-1], last))
        directory.run = dataclasses.replace(rest, request=changed, stopped_because=None, judge=None)
        request = dataclasses.replace(changed, resume=directory.resume_point())
        return self._begin(directory, request, pause=pause)

    async def stop(self, name: str) -> None:
        """Ends a run under way within a step; what is finished is kept. One that is over stays as it is."""
        if self.is_live(name):
            await cancel(self._live[name][1])

    async def stop_all(self) -> None:
        """As `stop`, for all."""
        await cancel(*(task for _, task in self._live.values()))

    def is_live(self, name: str) -> bool:
        """Whether the run is under way here."""
        return name in self._live and not self._live[name][0].over

    def is_paused(self, name: str) -> bool:
        """Whether the run waits for a person; forgotten when this process ends."""
        return name in self._live and self._live[name][0].paused

    def follow(self, name: str) -> AsyncGenerator[Told, None]:
        """Events of a run that was under way since this process began; see `LiveRun.follow`.

        Raises:
            NotFound: there is none.
        """
        if name not in self._live:
            raise NotFound(f"run {name!r} is not under way")
        return self._live[name][0].follow()

    def folder(self, name: str) -> Path:
        """Where a run lies.

        Raises:
            NotFound: there is none of this name.
        """
        path = self._root / name
        # A name is that of a folder right in here: nothing that leads elsewhere is one.
        if Path(name).name != name or name.startswith(".") or not (path / RESULT).is_file():
            raise NotFound(f"run {name!r} is unknown")
        return path

    def _begin(self, directory: RunDirectory, request: OptimizationRequest, *, pause: bool) -> str:
        live = sum(not run.over for run, _ in self._live.values())
        if live >= _MOST:
            raise ResourceExhausted(f"{live} runs are under way, {_MOST} may be; try again later", retry_after=30)
        for over in [name for name, (run, _) in self._live.items() if run.over][:-_REMEMBERED]:
            del self._live[over]
        name = directory.path.name
        # So that it is found from now on, as it is asked for.
        write_json(directory.path / RESULT, to_json(directory.run))
        run = LiveRun(directory, request, pause=pause)
        self._live[name] = run, asyncio.create_task(run.run(self._services))
        return name
