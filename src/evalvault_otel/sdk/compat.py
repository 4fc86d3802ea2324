"""What of the OpenTelemetry SDK has no public name, or another in some version: the only place that looks inside.

Checked with opentelemetry-sdk 1.30 and 1.45; where a name is gone, the answer is the specification's default.
"""

import threading
from contextvars import Token
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Tracer, TracerProvider

SCOPE: Final = "evalvault_otel"
_DEFAULT_EVENTS: Final = 128  # OpenTelemetry specification, "Span Limits"


class _Chosen:
    """The provider that spans of ours are made with: the global one, unless another was chosen."""

    lock = threading.Lock()
    tracer: Tracer | None = None


def use_provider(provider: TracerProvider | None) -> None:
    """Make spans of `ev.stage` with this provider; None: with the global one again."""
    _Chosen.tracer = None if provider is None else _tracer_of(provider)


def tracer() -> Tracer:
    """The tracer of our spans. Made once: the API's own stand-in follows when the global provider is set later."""
    found = _Chosen.tracer
    if found is None:
        found = _Chosen.tracer = _tracer_of(None)
    return found


def _tracer_of(provider: TracerProvider | None) -> Tracer:
    from .. import __version__  # noqa: PLC0415 - the package imports this module

    return trace.get_tracer(SCOPE, __version__, provider)


def detach(token: Token[Context]) -> None:
    """Go back to the context before `attach`; does nothing where that was in another task, as for a closed generator.

    The API's own `detach` would write an error to the log for it.
    """
    try:
        token.var.reset(token)
    except (ValueError, RuntimeError):
        return
    except AttributeError:  # a context of another kind (entry point opentelemetry_context)
        otel_context.detach(token)


def has_ended(span: Span) -> bool:
    """Whether a span of the SDK has ended; False for spans that never recorded."""
    return getattr(span, "end_time", None) is not None


def event_limit(span: Span) -> int:
    """How many events a span keeps; of more the SDK drops the oldest."""
    return _limit(span, "max_events", _DEFAULT_EVENTS)


def value_limit(span: Span, otherwise: int) -> int:
    """How long an attribute value of a span may be, in characters; the SDK cuts longer ones."""
    return _limit(span, "max_span_attribute_length", otherwise)


def _limit(span: Span, name: str, otherwise: int) -> int:
    limits: Any = getattr(span, "_limits", None)
    found = getattr(limits, name, None)
    return found if isinstance(found, int) else otherwise
