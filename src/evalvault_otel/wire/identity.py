"""Ids of resources and scopes, and the rule for valid trace and span ids.

An id is a hash of the content as it is stored, so that what comes out of the archive has the same id again.
"""

from typing import Final

from ..model import Attributes, Resource, Scope
from ..text import clean_text
from ..values import content_id

_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


def resource(attributes: Attributes, dropped: int, schema_url: str) -> Resource:
    """A resource with the id of its content."""
    return Resource(content_id([attributes, dropped, clean_text(schema_url)]), attributes, dropped, schema_url)


def scope(name: str, version: str, attributes: Attributes, dropped: int, schema_url: str) -> Scope:
    """An instrumentation scope with the id of its content."""
    content = [clean_text(name), clean_text(version), attributes, dropped, clean_text(schema_url)]
    return Scope(content_id(content), name, version, attributes, dropped, schema_url)


# A request of another signal decodes as records without ids, or not at all, so messages name the likely cause.
WRONG_SIGNAL: Final = {
    "traces": " (was this a metrics or logs request sent to /v1/traces?)",
    "logs": " (was this a traces or metrics request sent to /v1/logs?)",
}


def invalid_ids(trace_id: str, span_id: str, hint: str = WRONG_SIGNAL["traces"]) -> str | None:
    """Why these hex ids cannot name a span, or None. Source: trace.proto, comments on `trace_id` and `span_id`.

    `hint` is what a trace id of a wrong length makes likely.
    """
    if len(trace_id) != len(_NO_TRACE):
        return f"trace_id has {len(trace_id) // 2} bytes instead of 16{hint}"
    if len(span_id) != len(_NO_SPAN):
        return f"span_id has {len(span_id) // 2} bytes instead of 8"
    if trace_id == _NO_TRACE:
        return "trace_id is all zeros"
    if span_id == _NO_SPAN:
        return "span_id is all zeros"
    return None
