"""`/v1/runs`: runs that are kept in a folder, to start, follow, take over, look at and take away."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from emofeedback.domain.errors import NotFound
from emofeedback.http.answers import NOT_KEPT, SSE, sse
from emofeedback.http.bodies import ContinueBody, StartBody
from emofeedback.http.gallery import Gallery, packed
from emofeedback.http.live import LiveRuns, Told
from emofeedback.runs.directory import RunDirectory, read_run
from emofeedback.runs.report import REPORT, write_report
from emofeedback.runs.run import image_path, to_json

_ALONE = {"Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
"""A report shows what it carries and fetches nothing."""


def runs_router(runs: LiveRuns, gallery: Gallery) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/runs", tags=["runs"])

    @router.get("", summary="All runs, newest first")
    def listed(q: str = "", limit: Annotated[int, Query(ge=1, le=500)] = 60) -> dict[str, Any]:
        return {"data": [{**run, "live": runs.is_live(run["id"])} for run in gallery.find(q, limit)]}

    @router.post("", status_code=201, summary="Start a run that goes on when its caller leaves")
    async def start(body: StartBody) -> dict[str, str]:
        return {"id": runs.start(body.request(), pause=body.pause)}

    @router.get("/{name}", summary="What a run has come to, as its result.json")
    def shown(name: str) -> dict[str, Any]:
        run = read_run(runs.folder(name))
        now = {"live": runs.is_live(name), "paused": runs.is_paused(name), "state": run.state}
        return {"id": name, **now, **to_json(run)}

    @router.get("/{name}/events", summary="A run under way from its beginning, as server-sent events")
    async def events(name: str) -> StreamingResponse:
        return StreamingResponse(_told(runs.follow(name)), media_type=SSE, headers=NOT_KEPT)

    @router.post("/{name}/stop", summary="End a run within a step; what is finished is kept")
    async def stop(name: str) -> dict[str, Any]:
        runs.folder(name)
        await runs.stop(name)
        return {"id": name, "live": False}

    @router.post(
        "/{name}/continue", summary="Go on with a run that is cut, paused or done, by another prompt if you like"
    )
    async def go_on(name: str, body: ContinueBody) -> dict[str, str]:
        going = runs.go_on(name, prompt=body.prompt, rounds=body.rounds, seed=body.seed, pause=body.pause)
        return {"id": going}

    @router.get("/{name}/images/{round}/{index}", summary="A picture, with its recipe", response_class=FileResponse)
    def image(name: str, round: int, index: int) -> FileResponse:
        path = runs.folder(name) / image_path(round, index)
        if not path.is_file():
            raise NotFound(f"run {name!r} has no picture {index} in round {round}")
        return FileResponse(path, media_type="image/png", filename=f"{name}-{round + 1}-{index + 1}.png")

    @router.get("/{name}/report", summary="The run's report, a page of its own", response_class=FileResponse)
    def report(name: str) -> FileResponse:
        folder = runs.folder(name)
        path = folder / REPORT
        if not path.is_file():  # of a run that was cut
            write_report(RunDirectory(folder, read_run(folder)))
        return FileResponse(path, media_type="text/html", headers=_ALONE)

    @router.get("/{name}/zip", summary="The whole run: result, report, pictures", response_class=Response)
    async def whole(name: str) -> Response:
        data = await run_in_threadpool(packed, runs.folder(name))
        # A name is of letters in any script, headers are not.
        return Response(data, media_type="application/zip", headers={"Content-Disposition": "attachment"})

    return router


async def _told(events: AsyncGenerator[Told, None]) -> AsyncIterator[bytes]:
    async with aclosing(events) as following:
        async for name, content in following:
            yield sse(name, content)
