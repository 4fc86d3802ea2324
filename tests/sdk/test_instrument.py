"""`instrument()`: one processor per provider and destination, whoever was there before."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider

import evalvault_otel as ev
from evalvault_otel.conventions import names
from evalvault_otel.sdk import compat, guard
from evalvault_otel.sdk.config import SdkSettings, read_settings
from evalvault_otel.sdk.entry_points import RunDetector
from evalvault_otel.sdk.exporter import EvalVaultSpanExporter
from tests.support.receiving import receiving


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """A provider of this test's own, which makes the spans of `ev.stage` too."""
    made = TracerProvider(shutdown_on_exit=False)
    yield made
    made.shutdown()
    compat.use_provider(None)


def test_spans_of_the_provider_and_of_stages_arrive(provider: TracerProvider) -> None:
    with receiving() as receiver:
        handle = ev.instrument(receiver.endpoint, provider=provider)
        provider.get_tracer("test").start_span("mine").end()
        with ev.stage("retrieval", "bm25"):
            pass
        assert handle.force_flush()
        assert receiver.names == ["mine", "retrieval bm25"]
        handle.shutdown()
        handle.shutdown()


def test_called_twice_it_does_not_double_spans(provider: TracerProvider) -> None:
    with receiving() as receiver:
        first = ev.instrument(receiver.endpoint, provider=provider)
        second = ev.instrument(f"{receiver.endpoint}/v1/traces", provider=provider)
        provider.get_tracer("test").start_span("one").end()
        assert first.force_flush()
        assert second.force_flush()
        assert receiver.names == ["one"]


def test_two_destinations_both_get_all(provider: TracerProvider) -> None:
    with receiving() as one, receiving() as other:
        handles = [ev.instrument(receiver.endpoint, provider=provider) for receiver in (one, other)]
        provider.get_tracer("test").start_span("one").end()
        assert all(handle.force_flush() for handle in handles)
        assert one.names == other.names == ["one"]


def test_after_a_shutdown_it_can_begin_again(provider: TracerProvider) -> None:
    with receiving() as receiver:
        ev.instrument(receiver.endpoint, provider=provider).shutdown()
        handle = ev.instrument(receiver.endpoint, provider=provider)
        provider.get_tracer("test").start_span("one").end()
        assert handle.force_flush()
        assert receiver.names == ["one"]


@pytest.mark.parametrize("kind", [BatchSpanProcessor, SimpleSpanProcessor])
def test_where_our_exporter_is_at_work_it_only_stamps(
    kind: type[SimpleSpanProcessor], provider: TracerProvider
) -> None:
    with receiving() as receiver:
        exporter = EvalVaultSpanExporter(receiver.endpoint)
        kept = InMemorySpanExporter()
        provider.add_span_processor(kind(exporter))
        provider.add_span_processor(SimpleSpanProcessor(kept))
        for _ in range(2):
            ev.instrument(receiver.endpoint, provider=provider)
        with ev.run("r1"):
            provider.get_tracer("test").start_span("one").end()
        provider.force_flush()
        assert receiver.names == ["one"]
        (span,) = kept.get_finished_spans()
        assert span.attributes == {names.RUN_ID: "r1"}


def test_a_provider_of_another_kind_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    guard.forget()
    other: object = NoOpTracerProvider()
    handle = ev.instrument(provider=other)  # type: ignore[arg-type]  # as a program without type checks may
    assert handle.force_flush()
    handle.shutdown()
    assert "no TracerProvider of the SDK" in caplog.text
    compat.use_provider(None)


class _Failing(SpanProcessor):
    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - as the SDK calls it
        raise RuntimeError


def test_it_does_not_mind_who_is_there(provider: TracerProvider) -> None:
    with receiving() as receiver:
        provider.add_span_processor(_Failing())
        handle = ev.instrument(receiver.endpoint, provider=provider)
        provider.get_tracer("test").start_span("one").end()
        assert handle.force_flush()


@pytest.mark.parametrize(
    "name, text, field, expected",
    [
        ("EVALVAULT_MAX_QUEUE_SIZE", "100", "max_queue_size", 100),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100", "max_queue_size", 100),
        ("EVALVAULT_MAX_QUEUE_SIZE", "", "max_queue_size", SdkSettings().max_queue_size),
        ("EVALVAULT_MAX_QUEUE_SIZE", "many", "max_queue_size", SdkSettings().max_queue_size),
        ("EVALVAULT_MAX_QUEUE_SIZE", "-1", "max_queue_size", SdkSettings().max_queue_size),
        ("EVALVAULT_MAX_QUEUE_SIZE", "0", "max_queue_size", SdkSettings().max_queue_size),
        ("EVALVAULT_MAX_QUEUE_SIZE", "nan", "max_queue_size", SdkSettings().max_queue_size),
        ("EVALVAULT_MAX_QUEUE_SIZE", "inf", "max_queue_size", SdkSettings().max_queue_size),
        ("EVALVAULT_TRUST_BAGGAGE", "TRUE", "trust_baggage", True),
        ("EVALVAULT_TRUST_BAGGAGE", "1", "trust_baggage", False),
        ("EVALVAULT_COMPRESSION", "gzip", "compression", "gzip"),
        ("EVALVAULT_COMPRESSION", "zip", "compression", "none"),
        ("EVALVAULT_RUN_ID", " r1 ", "run_id", "r1"),
    ],
)
def test_settings_as_the_specification_reads_variables(name: str, text: str, field: str, expected: object) -> None:
    assert getattr(read_settings({name: text}), field) == expected


def test_a_number_that_cannot_be_used_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    read_settings({"EVALVAULT_EXPORT_TIMEOUT_MS": "soon"})
    assert "EVALVAULT_EXPORT_TIMEOUT_MS='soon' is not a number" in caplog.text


def test_what_is_given_goes_before_the_environment() -> None:
    env = {"EVALVAULT_MAX_QUEUE_SIZE": "100"}
    assert read_settings(env, max_queue_size=7).max_queue_size == 7
    assert read_settings(env, max_queue_size=None).max_queue_size == 100
    assert read_settings(env, max_queue_size=-7).max_queue_size == SdkSettings().max_queue_size


def test_the_key_is_not_shown() -> None:
    assert "evk_1" not in repr(read_settings({"EVALVAULT_API_KEY": "evk_1"}))


@pytest.mark.parametrize("said, expected", [("nightly", {names.RUN_ID: "nightly"}), ("", {}), ("x" * 129, {})])
def test_the_detector_puts_the_run_on_the_resource(
    said: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALVAULT_RUN_ID", said)
    assert dict(RunDetector().detect().attributes) == expected
