"""For gunicorn with --preload: spans of the parent before the fork, spans of each worker for each request."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry import trace

import evalvault_otel as ev

ev.instrument()
trace.get_tracer("app").start_span("preload").end()


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """One span a request."""
    trace.get_tracer("app").start_span(f"request {environ['PATH_INFO']}").end()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
