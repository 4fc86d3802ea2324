"""The exporter: to a receiver with retries that end, and honest about what arrived."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from evalvault_otel.sdk.config import DEFAULT_ENDPOINT
from evalvault_otel.sdk.exporter import EvalVaultSpanExporter, destination
from tests.support.receiving import Answer, partly, receiving
from tests.support.relays import free_address

OK, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


def spans(*names: str) -> list[ReadableSpan]:
    """Ended spans with these names."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for name in names:
        provider.get_tracer("test").start_span(name).end()
    return list(kept.get_finished_spans())


def test_spans_are_posted_as_protobuf_to_the_path_of_traces() -> None:
    with receiving() as receiver:
        assert EvalVaultSpanExporter(receiver.endpoint).export(spans("a", "b")) is OK
        (request,) = receiver.received
    assert (request.path, request.names) == ("/v1/traces", ["a", "b"])
    assert request.headers["Content-Type"] == "application/x-protobuf"
    assert "x-api-key" not in request.headers


def test_the_key_and_compression_go_along() -> None:
    with receiving() as receiver:
        exporter = EvalVaultSpanExporter(receiver.endpoint, api_key="evk_1", compression="gzip")
        assert exporter.export(spans("a")) is OK
        (request,) = receiver.received
    assert (request.headers["x-api-key"], request.headers["Content-Encoding"]) == ("evk_1", "gzip")
    assert request.names == ["a"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_work_later_is_tried_again(status: int) -> None:
    with receiving(lambda number: Answer(status if number < 2 else 200)) as receiver:
        assert EvalVaultSpanExporter(receiver.endpoint).export(spans("a")) is OK
        assert len(receiver.received) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422, 500, 501])
def test_what_can_never_work_is_tried_once(status: int) -> None:
    with receiving(lambda _: Answer(status, {"Location": "/elsewhere"} if status == 301 else {})) as receiver:
        exporter = EvalVaultSpanExporter(receiver.endpoint)
        assert exporter.export(spans("a")) is FAILED
        assert (len(receiver.received), exporter.retryable) == (1, False)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_receiver_says_when_to_come_back(form: str) -> None:
    def answer(number: int) -> Answer:
        said = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
        return Answer() if number else Answer(503, {"Retry-After": said})

    with receiving(answer) as receiver:
        assert EvalVaultSpanExporter(receiver.endpoint).export(spans("a")) is OK
        first, second = receiver.received
    assert 0.9 < second.at - first.at < 3


@pytest.mark.parametrize("said", ["3600", "nonsense", "-5", "inf", "nan"])
def test_no_answer_makes_it_wait_longer_than_its_timeout(said: str) -> None:
    with receiving(lambda _: Answer(503, {"Retry-After": said})) as receiver:
        exporter = EvalVaultSpanExporter(receiver.endpoint, export_timeout_ms=400)
        began = time.monotonic()
        assert exporter.export(spans("a")) is FAILED
        assert time.monotonic() - began < 1.0
        assert exporter.retryable
        assert len(receiver.received) < 50


def test_a_receiver_that_hangs_costs_no_more_than_the_timeout() -> None:
    with receiving(lambda _: Answer(delay_s=30)) as receiver:
        exporter = EvalVaultSpanExporter(receiver.endpoint, export_timeout_ms=300)
        began = time.monotonic()
        assert exporter.export(spans("a")) is FAILED
        assert time.monotonic() - began < 1.0


@contextmanager
def _trickling() -> Iterator[str]:
    """A server that answers one byte at a time, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        with connection:
            for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 10_000:
                if over.wait(0.05):
                    return
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join()
        listener.close()


def test_a_receiver_that_trickles_costs_no_more_than_the_timeout() -> None:
    with _trickling() as endpoint:
        exporter = EvalVaultSpanExporter(endpoint, export_timeout_ms=300)
        began = time.monotonic()
        assert exporter.export(spans("a")) is FAILED
        assert time.monotonic() - began < 2.0


def test_a_receiver_that_is_not_there_fails_within_the_timeout() -> None:
    exporter = EvalVaultSpanExporter(f"http://{free_address()}", export_timeout_ms=300)
    began = time.monotonic()
    assert exporter.export(spans("a")) is FAILED
    assert time.monotonic() - began < 1.0
    assert exporter.retryable


def test_what_was_refused_in_part_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with receiving(lambda _: partly(2, "no such thing")) as receiver:
        assert EvalVaultSpanExporter(receiver.endpoint).export(spans("a")) is OK
    assert "the receiver refused 2 spans: no such thing" in caplog.text


@pytest.mark.parametrize("body", [b"\xff\xff", b"<html>", b"{}"])
def test_an_answer_that_cannot_be_read_is_still_a_yes(body: bytes) -> None:
    with receiving(lambda _: Answer(body=body)) as receiver:
        assert EvalVaultSpanExporter(receiver.endpoint).export(spans("a")) is OK


@pytest.mark.parametrize("kind", [SimpleSpanProcessor, BatchSpanProcessor])
def test_the_processors_of_the_sdk_can_use_it(kind: Callable[[SpanExporter], SpanProcessor]) -> None:
    with receiving() as receiver:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(kind(EvalVaultSpanExporter(receiver.endpoint)))
        provider.get_tracer("test").start_span("a").end()
        assert provider.force_flush()
        provider.shutdown()
        assert receiver.names == ["a"]


def test_after_a_shutdown_exports_fail() -> None:
    with receiving() as receiver:
        exporter = EvalVaultSpanExporter(receiver.endpoint)
        exporter.shutdown()
        exporter.shutdown()
        assert exporter.export(spans("a")) is FAILED
        assert receiver.received == []


def test_a_shutdown_ends_the_wait_for_another_attempt() -> None:
    with receiving(lambda _: Answer(503, {"Retry-After": "20"})) as receiver:
        exporter = EvalVaultSpanExporter(receiver.endpoint, export_timeout_ms=30_000)
        results: list[SpanExportResult] = []
        thread = threading.Thread(target=lambda: results.append(exporter.export(spans("a"))))
        thread.start()
        while not receiver.received:
            time.sleep(0.01)
        exporter.shutdown()
        thread.join(2)
        assert results == [FAILED]


def test_spans_that_cannot_be_encoded_are_no_error(caplog: pytest.LogCaptureFixture) -> None:
    broken: Any = [object()]
    with receiving() as receiver:
        assert EvalVaultSpanExporter(receiver.endpoint).export(broken) is FAILED
    assert "could not be exported" in caplog.text


def test_nothing_is_nothing_to_send() -> None:
    with receiving() as receiver:
        assert EvalVaultSpanExporter(receiver.endpoint).export([]) is OK
        assert receiver.received == []


@pytest.mark.parametrize(
    "given, env, where",
    [
        ({}, {}, f"{DEFAULT_ENDPOINT}/v1/traces"),
        ({"endpoint": "http://h:1/"}, {}, "http://h:1/v1/traces"),
        ({"endpoint": "http://h:1/v1/traces"}, {}, "http://h:1/v1/traces"),
        ({"endpoint": "h:1/base"}, {}, "http://h:1/base/v1/traces"),
        ({"db": "a.db"}, {"EVALVAULT_ENDPOINT": "http://h:1"}, "a.db"),
        ({"endpoint": "http://h:1"}, {"EVALVAULT_DB": "a.db"}, "http://h:1/v1/traces"),
        ({}, {"EVALVAULT_ENDPOINT": "http://h:1", "EVALVAULT_DB": "a.db"}, "http://h:1/v1/traces"),
        ({}, {"EVALVAULT_DB": "a.db"}, "a.db"),
        ({}, {"EVALVAULT_ENDPOINT": " "}, f"{DEFAULT_ENDPOINT}/v1/traces"),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://others:1"}, f"{DEFAULT_ENDPOINT}/v1/traces"),
    ],
)
def test_where_spans_go(
    given: dict[str, str], env: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith(("EVALVAULT_", "OTEL_")):
            monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    assert destination(**given) == where
