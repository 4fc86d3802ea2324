"""The query API: JSON over HTTP, described at `/openapi.json`. It answers from the store and never writes."""

from typing import Final

import orjson
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import Response

from .. import __version__
from ..store import Store
from .api_errors import RESPONSES, answer_errors
from .api_models import Health, Index
from .api_routes import StoreOf, router

_LINKS: Final = {
    "runs": "/api/runs",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "metrics": "/metrics",
    "live": "/livez",
    "ready": "/readyz",
}


def create_api(store: Store, metrics_registry: CollectorRegistry) -> FastAPI:
    """The ASGI application of the query API.

    `metrics_registry` is what `/metrics` shows.
    """
    app = FastAPI(
        title="evalvault-otel",
        version=__version__,
        description="Stages, assets and debug reports of traced RAG applications.",
        responses=RESPONSES,
        redirect_slashes=False,
    )
    app.state.store = store
    app.state.metrics_registry = metrics_registry
    answer_errors(app)
    app.include_router(router)
    app.add_api_route("/", _index, response_model=Index, summary="Where to go from here")
    app.add_api_route("/livez", _livez, response_model=Health, summary="The process answers", tags=["health"])
    app.add_api_route("/readyz", _readyz, response_model=Health, summary="The storage answers too", tags=["health"])

    def metrics() -> Response:
        """Figures of this process in Prometheus text format."""
        return Response(generate_latest(metrics_registry), media_type=CONTENT_TYPE_LATEST)

    app.add_api_route("/metrics", metrics, response_class=Response, summary="Figures for Prometheus", tags=["health"])
    return app


def _index() -> Response:
    return Response(orjson.dumps(Index("evalvault-otel", __version__, _LINKS)), media_type="application/json")


async def _livez() -> Response:
    """Answers as long as the process does, whatever the storage is up to."""
    return Response(orjson.dumps(Health("ok")), media_type="application/json")


def _readyz(store: StoreOf) -> Response:
    """503 while the storage cannot be reached or lacks its tables."""
    store.ping()
    return Response(orjson.dumps(Health("ok")), media_type="application/json")
