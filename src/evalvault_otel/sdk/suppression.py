"""No spans of our own work: instrumentations of HTTP clients and database drivers leave out what we do.

Each thread that exports attaches this, since a context does not flow into new threads. Without it, a traced `requests`
would make a span of each export, which would have to be exported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context

# The first is the key of the API, the second the one of older instrumentations
# (opentelemetry-instrumentation, `utils.suppress_instrumentation`).
_KEYS: Final = (
    context._SUPPRESS_INSTRUMENTATION_KEY,  # noqa: SLF001 - there is no public name for it
    context._SUPPRESS_HTTP_INSTRUMENTATION_KEY,  # noqa: SLF001 - the same
    "suppress_instrumentation",
)


@contextmanager
def untraced() -> Iterator[None]:
    """Work of this thread makes no spans, until the end of the `with`."""
    quiet = context.get_current()
    for key in _KEYS:
        quiet = context.set_value(key, True, quiet)  # noqa: FBT003 - the value of a key
    token = context.attach(quiet)
    try:
        yield
    finally:
        context.detach(token)
