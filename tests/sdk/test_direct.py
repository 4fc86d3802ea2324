"""Spans straight into a database: the same rows as by a server, on both databases, and none of a server's patience."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

import evalvault_otel as ev
from benchmarks.database import of_url
from evalvault_otel.errors import SettingsError
from evalvault_otel.model import Span
from evalvault_otel.sdk import compat
from evalvault_otel.sdk.direct import open_direct
from evalvault_otel.sdk.exporter import EvalVaultSpanExporter
from evalvault_otel.store import open_store
from tests.sdk.test_exporter import spans
from tests.support.derived import derived_rows
from tests.support.otlp import otlp_message
from tests.support.postgres import Postgres
from tests.support.server import Server
from tests.support.traces import golden_names, golden_spans

OK, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


@pytest.fixture
def beside(db_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A second database of the same kind."""
    if db_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'beside.db'}"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with postgres.database() as url:
        yield url


def test_golden_traces_give_the_rows_that_a_server_gives(server: Server, beside: str) -> None:
    traces: list[list[Span]] = [golden_spans(name) for name in golden_names()]
    direct = open_direct(beside)
    for trace in traces:
        body = otlp_message(trace).SerializeToString()
        headers = {"Content-Type": "application/x-protobuf"}
        answer = requests.post(f"http://{server.http}/v1/traces", body, headers=headers, timeout=20)
        answer.raise_for_status()
        assert direct.send(body, 20)
    direct.stop()

    _wait_assembled(server.db)
    for trace_id in {span.trace_id for trace in traces for span in trace}:
        assert derived_rows(of_url(beside), trace_id) == derived_rows(of_url(server.db), trace_id)


def test_an_application_gives_the_rows_that_a_server_gives(server: Server, beside: str) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    handles = [
        ev.instrument(f"http://{server.http}", provider=provider),
        ev.instrument(db=beside, provider=provider),
    ]
    try:
        with ev.run("nightly", kind="offline"), ev.stage("input", query="what?"):
            with ev.stage("retrieval", name="bm25") as stage:
                ev.asset("query", "find_policies", version=2)
                stage.record(query="q", doc_ids=["a", "b"], scores=[1.0, 0.5])
            with pytest.raises(ValueError, match="no"), ev.stage("output"):
                raise ValueError("no")
    finally:
        assert [handle.force_flush() for handle in handles] == [True, True]
        provider.shutdown()
        _made_with_the_global_provider()

    _wait_assembled(server.db)
    (trace_id,) = [row[0] for row in of_url(beside).query("SELECT DISTINCT trace_id FROM span")]
    rows = derived_rows(of_url(beside), trace_id)
    assert rows == derived_rows(of_url(server.db), trace_id)
    assert len(rows["stage_event"]) == 3
    assert len(rows["v_asset_use"]) == 1


def _made_with_the_global_provider() -> None:
    compat.use_provider(None)


def _wait_assembled(url: str) -> None:
    store = open_store(url)
    deadline = time.monotonic() + 15
    while store.due_traces(2**62, 1):
        assert time.monotonic() < deadline, "not assembled in time"
        time.sleep(0.05)
    store.close()


@pytest.mark.parametrize("kind", [SimpleSpanProcessor, BatchSpanProcessor])
def test_the_processors_of_the_sdk_can_use_it(kind: Callable[..., BatchSpanProcessor], db_url: str) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kind(EvalVaultSpanExporter(db=db_url)))
    provider.get_tracer("test").start_span("a", attributes={"evalvault.stage.type": "retrieval"}).end()
    provider.shutdown()

    assert of_url(db_url).query("SELECT stage_type FROM stage_event") == [("retrieval",)]


def test_a_trace_whose_root_is_elsewhere_is_assembled_at_the_end(db_url: str) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(EvalVaultSpanExporter(db=db_url)))
    far = SpanContext(0x1234, 0x5678, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    here = set_span_in_context(NonRecordingSpan(far))
    provider.get_tracer("test").start_span("a", here, attributes={"evalvault.stage.type": "retrieval"}).end()
    assert of_url(db_url).query("SELECT stage_type FROM stage_event") == []

    provider.shutdown()

    assert of_url(db_url).query("SELECT stage_type FROM stage_event") == [("retrieval",)]


def test_a_trace_in_pieces_is_assembled_in_the_pauses(db_url: str) -> None:
    exporter = EvalVaultSpanExporter(db=db_url)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with (
        tracer.start_as_current_span("root"),
        tracer.start_as_current_span("a", attributes={"evalvault.stage.type": "retrieval"}),
    ):
        pass

    _wait_assembled(db_url)
    assert of_url(db_url).query("SELECT stage_type FROM stage_event") == [("retrieval",)]
    provider.shutdown()


def test_a_database_that_is_held_by_another_fails_within_the_timeout_and_works_later(tmp_path: Path) -> None:
    path = tmp_path / "held.db"
    exporter = EvalVaultSpanExporter(db=str(path), export_timeout_ms=300)
    assert exporter.export(spans("a")) is OK
    with sqlite3.connect(path, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert exporter.export(spans("b")) is FAILED
        assert time.monotonic() - began < 1.0
        assert exporter.retryable
        holder.execute("COMMIT")
    holder.close()
    exporter.shutdown()
    names = {name for (name,) in of_url(f"sqlite:///{path}").query("SELECT name FROM span")}
    assert names == {"a", "b"}, "what was late was stored after all"


def test_a_postgres_that_is_away_fails_within_the_timeout() -> None:
    exporter = EvalVaultSpanExporter(db="postgresql://nobody@127.0.0.1:1/nothing", export_timeout_ms=500)
    began = time.monotonic()
    assert exporter.export(spans("a")) is FAILED
    exporter.shutdown(timeout_millis=500)
    assert time.monotonic() - began < 3.0


@pytest.mark.parametrize("db", ["mysql://h/d", ":memory:", "/nowhere/at/all/x.db"])
def test_a_database_that_cannot_be_is_said_at_once(db: str) -> None:
    with pytest.raises(SettingsError):
        EvalVaultSpanExporter(db=db)


def test_after_a_shutdown_exports_fail(tmp_path: Path) -> None:
    exporter = EvalVaultSpanExporter(db=str(tmp_path / "a.db"))
    exporter.shutdown()
    exporter.shutdown()
    assert exporter.export(spans("a")) is FAILED
