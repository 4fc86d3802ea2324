"""What travels with the work: the current run and the current stage, as OpenTelemetry context and W3C baggage.

`stamp` puts the run on a span that starts. Only ids travel to other services, in baggage (W3C Baggage: it goes to every
service that is called, so nothing else belongs there); what came in that way is believed only if the setting says so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry import baggage
from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.trace import Span

from ..conventions import names
from . import guard

RUN_KEY: Final = create_key("evalvault-run")
STAGE_KEY: Final = create_key("evalvault-stage")

# Run and test case: conventions of the registry, "the only ones that belong in baggage".
TRAVELLING: Final = (names.RUN_ID, names.TEST_CASE_ID)
MAX_ID: Final = 128
_ID: Final = re.compile(rf"[^\x00-\x1f\x7f]{{1,{MAX_ID}}}")


@dataclass(frozen=True, slots=True)
class Run:
    """The run that work belongs to. `attributes` are the ones that its spans get, `evalvault.run.id` among them."""

    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def test_case(self) -> str | None:
        """The test case that is answered, if one was named."""
        return self.attributes.get(names.TEST_CASE_ID)


def valid_id(said: object) -> str | None:
    """An id as the registry allows it: text of 1 to 128 characters without control characters; else None."""
    return said if isinstance(said, str) and _ID.fullmatch(said) else None


def with_run(run: Run, context: Context) -> Context:
    """`context` in which work belongs to `run`, with its ids as baggage; ids of an outer run do not shine through."""
    context = set_value(RUN_KEY, run, context)
    for key in TRAVELLING:
        said = run.attributes.get(key)
        context = baggage.remove_baggage(key, context) if said is None else baggage.set_baggage(key, said, context)
    return context


def current_run(context: Context | None = None) -> Run | None:
    """The run of `ev.run(...)` that this work is in; None outside of one."""
    found = get_value(RUN_KEY, context)
    return found if isinstance(found, Run) else None


def stamp(span: Span, parent_context: Context | None, *, trust_baggage: bool) -> None:
    """Put the run on a span that starts: from `ev.run(...)` around it, else from inbound baggage if that is trusted.

    What the span says of its run itself stays. Never raises, whatever is in the context (but in strict mode).
    """
    try:
        _stamp(span, parent_context, trust_baggage)
    except Exception as error:  # noqa: BLE001 - called in the program's thread
        guard.failed("stamp", error)


def _stamp(span: Span, parent_context: Context | None, trust_baggage: bool) -> None:  # noqa: FBT001 - as `stamp`
    run = current_run(parent_context)
    said: Mapping[str, str] = run.attributes if run else _inbound(parent_context) if trust_baggage else {}
    if not said:
        return
    have: Any = getattr(span, "attributes", None) or {}
    if names.RUN_ID in have:
        # A stage has all of its run; a span that names another run has nothing of this one.
        if have[names.RUN_ID] != said.get(names.RUN_ID):
            return
        said = {key: value for key, value in said.items() if key not in have}
    if said:
        span.set_attributes(said)


def _inbound(context: Context | None) -> dict[str, str]:
    """Ids in the baggage of the caller; a test case says nothing without its run."""
    said = {key: valid for key in TRAVELLING if (valid := valid_id(baggage.get_baggage(key, context)))}
    return said if names.RUN_ID in said else {}
