"""The span processor keeps out of the program's way: no error, no blocking, no surprise, and every loss counted."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import context
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from evalvault_otel.conventions import names
from evalvault_otel.sdk import guard
from evalvault_otel.sdk.context import Run, with_run
from evalvault_otel.sdk.exporter import EvalVaultSpanExporter
from evalvault_otel.sdk.processor import EvalVaultSpanProcessor
from tests.support.receiving import Answer, receiving

MIB = 1024 * 1024


class Collected(SpanExporter):
    """Keeps the names of what it gets; `hold` makes exports wait."""

    def __init__(self, result: SpanExportResult = SpanExportResult.SUCCESS) -> None:
        self.batches: list[list[str]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.result = result
        self.threads: set[str] = set()
        self.suppressed: set[object] = set()
        self.shutdowns = 0
        self.at_once = 0
        self.most_at_once = 0

    @property
    def names(self) -> list[str]:
        return [name for batch in self.batches for name in batch]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.threads.add(threading.current_thread().name)
        self.suppressed.add(context.get_value("suppress_instrumentation"))
        self.hold.wait()
        self.batches.append([span.name for span in spans])
        self.at_once -= 1
        return self.result

    def shutdown(self) -> None:
        self.shutdowns += 1


class Raising(SpanExporter):
    """Fails in every way."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - as the SDK calls it
        raise RuntimeError("export")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - as the SDK calls it
        raise RuntimeError("flush")

    def shutdown(self) -> None:
        raise RuntimeError("shutdown")


@pytest.fixture(autouse=True)
def _counted_from_zero() -> Iterator[None]:
    before = guard.strict(enabled=False)
    guard.forget()
    yield
    guard.strict(enabled=before)


@contextmanager
def traced(exporter: SpanExporter, **settings: Any) -> Iterator[tuple[Callable[[str], None], EvalVaultSpanProcessor]]:
    """A function that makes a span, and the processor that gets it."""
    processor = EvalVaultSpanProcessor(exporter, **settings)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("test")
    try:
        yield lambda name: tracer.start_span(name).end(), processor
    finally:
        processor.shutdown(0)


def test_spans_arrive_in_order_in_batches_on_another_thread() -> None:
    exporter = Collected()
    with traced(exporter, max_batch_size=10) as (span, processor):
        for number in range(25):
            span(str(number))

        assert processor.force_flush()

    assert exporter.names == [str(number) for number in range(25)]
    assert max(map(len, exporter.batches)) <= 10
    assert exporter.threads == {"evalvault-export"}
    assert exporter.suppressed == {True}


def test_without_a_flush_they_arrive_after_the_usual_pause_or_as_a_full_batch() -> None:
    exporter = Collected()
    with traced(exporter, schedule_delay_ms=30) as (span, processor):
        span("one")
        _wait(lambda: exporter.names == ["one"])
    with traced(exporter, schedule_delay_ms=60_000, max_batch_size=3) as (span, processor):
        for name in "abc":
            span(name)
        _wait(lambda: exporter.names == ["one", "a", "b", "c"])
        assert processor.counts().delivered == 3


def test_a_span_that_starts_is_stamped_with_its_run() -> None:
    kept = InMemorySpanExporter()
    processor = EvalVaultSpanProcessor(kept)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    run = with_run(Run("r1", {names.RUN_ID: "r1"}), context.Context())

    provider.get_tracer("test").start_span("one", run).end()
    provider.shutdown()

    (span,) = kept.get_finished_spans()
    assert span.attributes == {names.RUN_ID: "r1"}


def test_the_newest_are_dropped_when_too_many_wait_and_each_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Collected()
    exporter.hold.clear()
    with traced(exporter, max_queue_size=10, schedule_delay_ms=20) as (span, processor):
        for number in range(25):
            span(str(number))
        counts = processor.counts()
        assert (counts.waiting, counts.dropped, counts.delivered) == (10, 15, 0)

        exporter.hold.set()
        assert not processor.force_flush(), "spans were lost since the start"
        assert exporter.names == [str(number) for number in range(10)]
        span("later")
        assert processor.force_flush(), "nothing was lost since the flush before"
    assert [record.getMessage() for record in caplog.records if "lost" in record.getMessage()] == [
        "15 spans lost so far: 15 dropped because too many were waiting, 0 could not be exported"
    ]


@pytest.mark.parametrize(
    "value",
    ["x" * MIB, b"x" * MIB, ("x" * 1000,) * 1000, {"deep": [{"er": "x" * MIB}]}],
    ids=["text", "bytes", "list", "map"],
)
def test_memory_is_bounded_whatever_form_it_has(value: Any) -> None:
    exporter = Collected()
    exporter.hold.clear()
    processor = EvalVaultSpanProcessor(exporter, max_queue_bytes=4 * MIB)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    kept = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for _ in range(10):
        provider.get_tracer("test").start_span("large", attributes={"value": value}).end()

    # SDKs before 1.45 do not keep maps at all.
    held = kept.get_finished_spans()[0].attributes
    assert processor.counts().waiting in ({3, 4} if held else {10})
    exporter.hold.set()
    processor.shutdown()


def test_events_and_links_count_as_memory() -> None:
    exporter = Collected()
    exporter.hold.clear()
    with traced(exporter, max_queue_bytes=4 * MIB) as (_, processor):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        for _ in range(10):
            span = provider.get_tracer("test").start_span("large")
            span.add_event("event", {"text": "x" * MIB})
            span.end()
        assert processor.counts().waiting in {3, 4}
        exporter.hold.set()


def test_a_flush_keeps_its_deadline_while_the_exporter_hangs() -> None:
    exporter = Collected()
    exporter.hold.clear()
    with traced(exporter) as (span, processor):
        span("one")
        began = time.monotonic()
        assert not processor.force_flush(200)
        assert time.monotonic() - began < 1.0
        exporter.hold.set()
        assert processor.force_flush(), "what was late arrived after all"
    assert exporter.names == ["one"]


def test_a_flush_says_what_the_exporter_says() -> None:
    exporter = Collected(SpanExportResult.FAILURE)
    with traced(exporter) as (span, processor):
        span("one")
        assert not processor.force_flush()
        assert processor.counts().failed == 1
        exporter.result = SpanExportResult.SUCCESS
        span("two")
        assert processor.force_flush()


def test_a_flush_with_nothing_to_do_is_true() -> None:
    with traced(Collected()) as (_, processor):
        assert processor.force_flush(0) or processor.force_flush()


def test_exports_are_never_concurrent() -> None:
    exporter = Collected()
    with traced(exporter, max_batch_size=5, schedule_delay_ms=1) as (span, processor):
        threads = [threading.Thread(target=lambda: [span("x") for _ in range(200)]) for _ in range(10)]
        threads += [threading.Thread(target=processor.force_flush) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert processor.force_flush()
    assert (len(exporter.names), exporter.most_at_once) == (2000, 1)


def test_ten_threads_during_a_shutdown_lose_nothing_uncounted() -> None:
    exporter = Collected()
    with traced(exporter) as (span, processor):
        threads = [threading.Thread(target=lambda: [span("x") for _ in range(300)]) for _ in range(10)]
        for thread in threads:
            thread.start()
        processor.shutdown()
        for thread in threads:
            thread.join()
        counts = processor.counts()
    assert counts.delivered == len(exporter.names)
    assert counts.delivered + counts.dropped == 3000


def test_a_shutdown_delivers_what_waits_and_the_second_does_nothing() -> None:
    exporter = Collected()
    with traced(exporter, schedule_delay_ms=60_000) as (span, processor):
        span("one")
        processor.shutdown()
        processor.shutdown()
        span("two")
        assert not processor.force_flush(), "the span after the shutdown was lost"
    assert (exporter.names, exporter.shutdowns) == (["one"], 1)
    assert processor.counts().dropped == 1


def test_a_shutdown_keeps_its_deadline_while_the_exporter_hangs() -> None:
    exporter = Collected()
    exporter.hold.clear()
    with traced(exporter) as (span, processor):
        span("one")
        began = time.monotonic()
        processor.shutdown(timeout_millis=200)
        assert time.monotonic() - began < 1.0
        assert processor.counts().failed == 1
        exporter.hold.set()


def test_whatever_an_exporter_raises_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    with traced(Raising()) as (span, processor):
        span("one")
        assert not processor.force_flush()
        span("two")
        assert not processor.force_flush()
        processor.shutdown()
        assert processor.counts().failed == 2
    assert len([record for record in caplog.records if "export raised" not in record.getMessage()]) <= 4


def test_an_error_of_ours_does_not_reach_the_program(caplog: pytest.LogCaptureFixture) -> None:
    with traced(Collected()) as (span, processor):
        broken: Any = object()
        processor.on_end(broken)
        processor.on_start(broken, broken)
        span("one")
        assert processor.force_flush()
    assert any(key.startswith("on_end") for key in guard.problems())


def test_in_strict_mode_it_does() -> None:
    with traced(Collected()) as (_, processor):
        guard.strict()
        broken: Any = object()
        with pytest.raises(AttributeError):
            processor.on_end(broken)
        guard.strict(enabled=False)


def test_spans_that_are_not_sampled_are_left_out() -> None:
    exporter = Collected()
    processor = EvalVaultSpanProcessor(exporter)
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("one").end()
    assert processor.force_flush()
    processor.shutdown()
    assert exporter.names == []


def test_a_span_that_is_ended_twice_is_exported_once(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Collected()
    with traced(exporter) as (_, processor):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        span = provider.get_tracer("test").start_span("one")
        span.end()
        span.end()
        assert processor.force_flush()
    assert exporter.names == ["one"]


def test_it_works_beside_a_batch_span_processor() -> None:
    exporter, other = Collected(), InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in (BatchSpanProcessor(other), EvalVaultSpanProcessor(exporter)):
        provider.add_span_processor(processor)
    for number in range(1000):
        provider.get_tracer("test").start_span(str(number)).end()
    assert provider.force_flush()
    provider.shutdown()
    assert sorted(exporter.names) == sorted(span.name for span in other.get_finished_spans())
    assert len(exporter.names) == 1000


def test_a_span_of_a_hundred_thousand_attributes_goes_through() -> None:
    with receiving() as receiver:
        processor = EvalVaultSpanProcessor(endpoint=receiver.endpoint, max_queue_bytes=64 * MIB)
        provider = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_span_attributes=200_000))
        provider.add_span_processor(processor)
        provider.get_tracer("test").start_span("large", attributes={str(key): key for key in range(100_000)}).end()
        assert processor.force_flush()
        processor.shutdown()
    assert receiver.names == ["large"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"\xff\x00", None, {"a": {"b": [1, None]}}, "\ud800"])
def test_odd_values_cost_no_span(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    with receiving() as receiver:
        processor = EvalVaultSpanProcessor(endpoint=receiver.endpoint)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        provider.get_tracer("test").start_span("odd", attributes={"value": value}).end()
        provider.get_tracer("test").start_span("next").end()
        processor.force_flush()
        processor.shutdown()
    assert receiver.names[-1:] == ["next"]


def test_nothing_is_lost_while_a_receiver_is_away_for_a_while() -> None:
    down = threading.Event()
    down.set()
    with receiving(lambda _: Answer(503, {"Retry-After": "0.05"}) if down.is_set() else Answer()) as receiver:
        processor = EvalVaultSpanProcessor(_short(receiver.endpoint), schedule_delay_ms=20)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        for number in range(20):
            provider.get_tracer("test").start_span(str(number)).end()
        assert not processor.force_flush(300)
        assert processor.counts().waiting == 20
        down.clear()
        assert processor.force_flush()
        processor.shutdown()
    assert sorted(receiver.names, key=int) == [str(number) for number in range(20)]


def _short(endpoint: str) -> SpanExporter:
    return EvalVaultSpanExporter(endpoint, export_timeout_ms=200)


def test_hooks_leave_the_context_as_it_was() -> None:
    before = context.get_current()
    with traced(Collected()) as (span, processor):
        span("one")
        processor.force_flush()
        processor.shutdown()
    assert context.get_current() == before


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)


def test_warnings_are_no_more_than_one_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    exporter = Collected(SpanExportResult.FAILURE)
    with traced(exporter, schedule_delay_ms=1) as (span, processor):
        for number in range(20):
            span(str(number))
            processor.force_flush()
    assert len([record for record in caplog.records if "lost" in record.getMessage()]) == 1
