"""The run that a span gets when it starts, and from where."""

from collections.abc import Iterator

import pytest
from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN, Span

from evalvault_otel.sdk import guard
from evalvault_otel.sdk.context import Run, current_run, stamp, valid_id, with_run

_RUN = Run("run-1", {"evalvault.run.id": "run-1", "evalvault.test_case.id": "tc-1", "evalvault.run.kind": "offline"})
_PROVIDER = TracerProvider()


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    before = guard.strict()
    yield
    guard.strict(enabled=before)


def _span(**attributes: str) -> Span:
    return _PROVIDER.get_tracer("t").start_span(
        "s", Context(), attributes={f"evalvault.{k}": v for k, v in attributes.items()}
    )


def _stamped(span: Span, context: Context, *, trust: bool = False) -> dict[str, object]:
    stamp(span, context, trust_baggage=trust)
    return dict(getattr(span, "attributes", None) or {})


def test_a_span_gets_all_of_the_run_it_starts_in() -> None:
    assert _stamped(_span(), with_run(_RUN, Context())) == _RUN.attributes


def test_outside_of_a_run_a_span_gets_nothing() -> None:
    assert _stamped(_span(), Context()) == {}


def test_a_span_that_names_another_run_keeps_it() -> None:
    span = _span(**{"run.id": "mine"})

    assert _stamped(span, with_run(_RUN, Context())) == {"evalvault.run.id": "mine"}


def test_what_a_span_says_itself_of_the_same_run_stays() -> None:
    span = _span(**{"run.id": "run-1", "test_case.id": "tc-9"})

    assert _stamped(span, with_run(_RUN, Context())) == {**_RUN.attributes, "evalvault.test_case.id": "tc-9"}


def test_only_the_ids_travel() -> None:
    assert baggage.get_all(with_run(_RUN, Context())) == {"evalvault.run.id": "run-1", "evalvault.test_case.id": "tc-1"}


def test_a_test_case_of_an_outer_run_does_not_travel_with_an_inner_one() -> None:
    inner = Run("run-2", {"evalvault.run.id": "run-2"})

    assert baggage.get_all(with_run(inner, with_run(_RUN, Context()))) == {"evalvault.run.id": "run-2"}


@pytest.mark.parametrize(
    "said, trust, expected",
    [
        ({"evalvault.run.id": "far"}, False, {}),
        ({"evalvault.run.id": "far"}, True, {"evalvault.run.id": "far"}),
        (
            {"evalvault.run.id": "far", "evalvault.test_case.id": "t", "evalvault.tenant.id": "other"},
            True,
            {"evalvault.run.id": "far", "evalvault.test_case.id": "t"},
        ),
        ({"evalvault.test_case.id": "t"}, True, {}),
        ({"evalvault.run.id": "a\nb"}, True, {}),
        ({"evalvault.run.id": "x" * 129}, True, {}),
        ({"evalvault.run.id": 7}, True, {}),
    ],
)
def test_inbound_baggage_counts_only_if_it_is_trusted_and_well_formed(
    said: dict[str, object], trust: bool, expected: dict[str, str]
) -> None:
    context = Context()
    for key, value in said.items():
        context = baggage.set_baggage(key, value, context)

    assert _stamped(_span(), context, trust=trust) == expected


def test_a_run_of_this_process_wins_over_baggage() -> None:
    context = with_run(_RUN, baggage.set_baggage("evalvault.run.id", "far", Context()))

    assert _stamped(_span(), context, trust=True) == _RUN.attributes


def test_nothing_in_the_context_makes_it_raise() -> None:
    guard.strict(enabled=False)
    ended = _span()
    ended.end()

    stamp(INVALID_SPAN, with_run(_RUN, Context()), trust_baggage=True)
    stamp(ended, with_run(_RUN, Context()), trust_baggage=True)
    stamp(None, {"baggage": 5}, trust_baggage=True)  # type: ignore[arg-type]  # what a broken propagator may leave
    stamp(_span(), Context({"baggage": 5}), trust_baggage=True)


def test_ids_are_text_of_a_length_without_control_characters() -> None:
    assert [valid_id(said) for said in ("ok", "한글", "", "a\x7f", "x" * 128, None)] == [
        "ok",
        "한글",
        None,
        None,
        "x" * 128,
        None,
    ]


def test_no_run_is_current_outside_of_one() -> None:
    assert current_run(Context()) is None
    assert current_run(with_run(_RUN, Context())) == _RUN
