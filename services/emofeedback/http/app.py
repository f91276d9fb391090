"""The application: routes, the gate before them, and the studio's page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.staticfiles import StaticFiles

from emofeedback.client.aio import AsyncServices
from emofeedback.domain.affect import LEXICON, AffectPoint
from emofeedback.domain.limits import LIMITS
from emofeedback.http.answers import plain
from emofeedback.http.errors import answer_errors
from emofeedback.http.gallery import Gallery
from emofeedback.http.gate import Gate, RateLimit
from emofeedback.http.images import images_router
from emofeedback.http.live import LiveRuns
from emofeedback.http.loop import loop_router
from emofeedback.http.questions import questions_router
from emofeedback.http.runs import runs_router

STUDIO = Path(__file__).parent / "studio"
"""The page's files."""
_OPEN = frozenset(("/", "/healthz", "/openapi.json"))
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'none'"
)
"""The page's own files and nothing else: no request leaves for another place."""


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """How the door is kept."""

    token: str = ""
    """Bearer token that every call must bring; empty: everybody may call."""
    calls_per_minute: float = 600.0
    """Of one token, or of one address where there is none; as many at once."""
    origins: tuple[str, ...] = ()
    """Other sites whose pages may call (CORS); none."""
    hosts: tuple[str, ...] = ()
    """Names that the service answers to; empty: any. On loopback its own, so that no foreign name can lead there."""
    runs: Path | None = None
    """Folder of kept runs, for the studio; None: neither of both."""
    profile: str | None = None
    """Name that kept runs carry; None where the services have a profile of their own."""
    reach: tuple[AffectPoint, ...] = ()
    """Where pictures of this generator have landed in this judge's eyes, for the studio's plane; none: not known."""


def create_app(services: AsyncServices, settings: HttpSettings, metrics: Callable[[], bytes] | None = None) -> FastAPI:
    """The application over some services, which it does not close.

    Args:
        metrics: gives the page of this process's metrics; None: there is none.
    """
    runs = None if settings.runs is None else LiveRuns(services, settings.runs, settings.profile)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        if runs is not None:
            await runs.stop_all()

    app = FastAPI(
        title="EmoFeedback",
        description="Pictures that make people feel what you asked for.",
        version=version("emofeedback"),
        lifespan=living,
        docs_url=None,  # both would fetch their scripts from elsewhere
        redoc_url=None,
    )
    answer_errors(app)
    app.include_router(images_router(services))
    app.include_router(loop_router(services))
    app.include_router(questions_router(services))
    _add_own(app, metrics)
    if runs is not None and settings.runs is not None:
        app.include_router(runs_router(runs, Gallery(settings.runs)))
        _add_studio(app, settings.reach)
    app.add_middleware(
        Gate,
        token=settings.token,
        open_paths=_OPEN,
        open_folder="/studio/",
        origins=settings.origins,
        hosts=settings.hosts,
        rate=RateLimit(settings.calls_per_minute),
    )
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["*"],
            allow_headers=["authorization", "content-type"],
        )
    return app


def _add_own(app: FastAPI, metrics: Callable[[], bytes] | None) -> None:
    @app.get("/healthz", tags=["service"], summary="Whether this door is open")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/emotions", tags=["feeling"], summary="The eight emotions and where they lie on the plane")
    async def emotions() -> dict[str, Any]:
        return {"data": [{"name": emotion, **plain(word.point)} for emotion, word in LEXICON.items()]}

    @app.get("/v1/limits", tags=["service"], summary="What one call may ask for")
    async def limits() -> dict[str, Any]:
        return {name: getattr(LIMITS, name) for name in ("rounds", "images_per_call", "prompt_characters", "seed")}

    if metrics is not None:

        @app.get("/metrics", tags=["service"], summary="For Prometheus", response_class=PlainTextResponse)
        def page() -> PlainTextResponse:
            return PlainTextResponse(metrics())


def _add_studio(app: FastAPI, reach: Sequence[AffectPoint]) -> None:
    @app.get("/v1/reach", tags=["feeling"], summary="Where pictures of this generator have landed on the plane")
    def reached() -> dict[str, Any]:
        return {"data": [plain(point) for point in reach]}

    app.mount("/studio", StaticFiles(directory=STUDIO), name="studio")

    @app.get("/", include_in_schema=False)
    def studio() -> FileResponse:
        return FileResponse(STUDIO / "index.html", headers={"Content-Security-Policy": _POLICY})
