"""The query API: JSON over HTTP, described at `/openapi.json`. It answers from the store and never writes.

StageEvents that come to the same address are the part of `stage_events`.

Where there are API keys, everything below `/api` and `/metrics` wants the scope `read`. Who restarts the process or
sends it traffic needs no key, and the description holds no data.
"""

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import Response

from .. import __version__
from ..analysis.completeness import DEFAULT_EXPECTED, Expected
from ..analysis.viewers import viewers_of
from ..assembly.options import DEFAULT_OPTIONS, AssemblyOptions
from ..conventions.reading import DEFAULT, Conventions
from ..settings import Settings
from ..store import Store
from .api_errors import RESPONSES, answer_errors
from .api_models import Health, Index
from .api_routes import StoreOf, router, trace_of
from .asset_routes import router as asset_router
from .compare_routes import router as compare_router
from .etags import ETags
from .keys import Keys, Scope, presented_key
from .stream_feed import Feed
from .stream_routes import router as stream_router
from .stream_routes import socket_router

_LINKS: Final = {
    "runs": "/api/runs",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "metrics": "/metrics",
    "live": "/livez",
    "ready": "/readyz",
}


# What the routes find in `app.state`.
_KNOWN: Final = (
    "store", "metrics_registry", "keys", "conventions", "options", "expected_assets", "settings", "viewers",
    "feed",
)  # fmt: skip
_NO_KEYS: Final = Keys()
_DEFAULT_SETTINGS: Final = Settings()


def create_api(  # noqa: PLR0913, PLR0917 - all that the API knows, in one place
    store: Store,
    metrics_registry: CollectorRegistry,
    keys: Keys = _NO_KEYS,
    conventions: Conventions = DEFAULT,
    options: AssemblyOptions = DEFAULT_OPTIONS,
    expected_assets: Expected = DEFAULT_EXPECTED,
    settings: Settings = _DEFAULT_SETTINGS,
) -> FastAPI:
    """The ASGI application of the query API.

    `metrics_registry` is what `/metrics` shows, `keys` who may read, `conventions` and
    `options` what the traces were assembled with, `expected_assets` which kinds stages should use,
    `settings` by which thresholds and required stages runs are judged.
    """
    app = FastAPI(
        title="evalvault-otel",
        version=__version__,
        description="Stages, assets and debug reports of traced RAG applications.",
        responses=RESPONSES,
        redirect_slashes=False,
    )
    feed = Feed(store, settings.max_streams, settings.stream_heartbeat_s)
    shown_by = (conventions, options, expected_assets, settings, viewers_of(settings))
    known = (store, metrics_registry, keys, *shown_by, feed)
    for name, value in zip(_KNOWN, known, strict=True):
        setattr(app.state, name, value)
    app.add_middleware(ETags)
    answer_errors(app)
    app.add_api_route("/", _index, response_model=Index, summary="Where to go from here")
    app.add_api_route("/livez", _livez, response_model=Health, summary="The process answers", tags=["health"])
    app.add_api_route("/readyz", _readyz, response_model=Health, summary="The storage answers too", tags=["health"])

    app.include_router(_guarded())
    app.include_router(socket_router)
    return app


# These two describe the headers in `/openapi.json` and let `/docs` send them; `Keys` decides.
_BEARER: Final = HTTPBearer(auto_error=False, description="an API key with the scope `read`")
_OWN_HEADER: Final = APIKeyHeader(name="x-api-key", auto_error=False, description="the same")


async def _may_read(
    request: Request, _bearer: Annotated[object, Depends(_BEARER)], _own: Annotated[object, Depends(_OWN_HEADER)]
) -> None:
    """Let a request through that may read.

    Raises:
        Unauthenticated, Forbidden, Unavailable: as `Keys.check`.
    """
    keys: Keys = request.app.state.keys
    keys.check(presented_key(request.headers.raw), Scope.READ)


def _metrics(request: Request) -> Response:
    """Figures of this process in Prometheus text format."""
    return Response(generate_latest(request.app.state.metrics_registry), media_type=CONTENT_TYPE_LATEST)


def _guarded() -> APIRouter:
    """What wants the scope `read`."""
    guarded = APIRouter(dependencies=[Depends(_may_read)])
    # Before the others: the path of a run takes whatever follows.
    guarded.add_api_route("/trace", trace_of, response_class=Response, summary="One trace, for links from elsewhere")
    guarded.include_router(asset_router)
    guarded.include_router(compare_router)
    guarded.include_router(stream_router)
    guarded.include_router(router)
    guarded.add_api_route(
        "/metrics", _metrics, response_class=Response, summary="Figures for Prometheus", tags=["health"]
    )
    return guarded


def _index() -> Response:
    return Response(orjson.dumps(Index("evalvault-otel", __version__, _LINKS)), media_type="application/json")


async def _livez() -> Response:
    """Answers as long as the process does, whatever the storage is up to."""
    return Response(orjson.dumps(Health("ok")), media_type="application/json")


def _readyz(store: StoreOf) -> Response:
    """503 while the storage cannot be reached or lacks its tables."""
    store.ping()
    return Response(orjson.dumps(Health("ok")), media_type="application/json")
