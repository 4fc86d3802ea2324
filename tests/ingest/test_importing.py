"""What goes out and in again is the same: archive, stages, assets, findings; also from one store to the other."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from io import BufferedReader, BytesIO
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.database import of_url
from evalvault_otel.analysis.exporting import jsonl, otlp
from evalvault_otel.assembly import assemble
from evalvault_otel.ingest.importing import Imported, Importer, Refused
from evalvault_otel.ingest.mapping import Mapping
from evalvault_otel.model import LogEvent, Span
from evalvault_otel.settings import Settings
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.records import RejectFilter
from evalvault_otel.store.selecting import Selection
from evalvault_otel.wire.events import is_ours
from evalvault_otel.wire.logs_json_encode import encode_logs
from evalvault_otel.wire.otlp_files import documents
from evalvault_otel.wire.otlp_json_encode import encode
from tests.support.derived import derived_rows
from tests.support.strategies import bounded, log_events, soup_logs, soup_traces, spans
from tests.support.traces import (
    GOLDEN,
    batches,
    distinct,
    exact,
    golden_logs,
    golden_names,
    golden_spans,
    in_trace,
    log,
    new_trace_id,
    sid,
    span,
    stage,
)

NOW = 1_700_000_000_000_000_000
MAPPING = Mapping()
NEVER = Event()


def exported(store: Store, wanted: Selection | None = None) -> bytes:
    return b"".join(line + b"\n" for _, lines in otlp(store, wanted or Selection()) for line in lines)


def take_in(url: str, content: bytes, *, strict: bool = False) -> tuple[Imported, list[Refused]]:
    """Import a file's content."""
    with Importer(Settings(db=url), MAPPING) as importer:
        file = BufferedReader(BytesIO(content))
        said = list(importer.add("file", documents(file, 10**7), NEVER, strict=strict))
    assert importer.assemble(MAPPING, NEVER) == []
    imported = importer.imported()
    importer.store.close()
    return imported, [item for item in said if item is not None]


@pytest.fixture(params=["sqlite", "postgres"])
def target_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind, besides `store`."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path / 'target.db'}"
        else:
            yield stack.enter_context(request.getfixturevalue("postgres").database())


def settle(store: Store) -> None:
    for trace_id in store.due_traces(2**62, 10_000):
        store.reassemble(trace_id, assemble, NOW)


def compare(source_url: str, source: Store, target_url: str, trace_ids: Sequence[str]) -> None:
    """All that is kept and derived of these traces is the same in both databases."""
    target = open_store(target_url)
    for trace_id in trace_ids:
        assert exact(target.archived([trace_id])) == exact(source.archived([trace_id]))
        assert target.trace_stages(trace_id) == source.trace_stages(trace_id)
        assert target.asset_uses(trace_id) == source.asset_uses(trace_id)
        assert target.findings(trace_id) == source.findings(trace_id)
        assert target.links(trace_id) == source.links(trace_id)
        if target_url.partition(":")[0] == source_url.partition(":")[0]:
            assert derived_rows(of_url(target_url), trace_id) == derived_rows(of_url(source_url), trace_id)
    target.close()


def test_golden_traces_are_the_same_after_export_and_import(store: Store, db_url: str, target_url: str) -> None:
    ids = []
    for name in golden_names():
        ids.append(new_trace_id())
        logs = in_trace(golden_logs(name), ids[-1])
        store.write(batches(*in_trace(golden_spans(name), ids[-1]), logs=logs), [], NOW)
    settle(store)
    content = exported(store)

    imported, refused = take_in(target_url, content)

    assert (imported.traces, imported.rejected, refused) == (len(ids), 0, [])
    compare(db_url, store, target_url, ids)
    # And a second time nothing is stored.
    again, _ = take_in(target_url, content)
    assert again == Imported(0, imported.spans + imported.logs, 0, 0, 0, 0, 0)


@settings(bounded, max_examples=20)
@given(
    trace=soup_traces,
    logs=st.lists(soup_logs, max_size=2),
    odd=st.lists(spans, max_size=2),
    odd_logs=st.lists(log_events, max_size=1),
)
def test_whatever_is_in_them_traces_are_the_same_after_export_and_import(
    tmp_path_factory: pytest.TempPathFactory,
    trace: list[Span],
    logs: list[LogEvent],
    odd: list[Span],
    odd_logs: list[LogEvent],
) -> None:
    folder = tmp_path_factory.mktemp("round")
    urls = [f"sqlite:///{folder / name}.db" for name in ("source", "target")]
    logs, odd_logs = _as_received(logs), _as_received(odd_logs)
    items = [distinct([*in_trace(trace, new_trace_id())]), distinct(in_trace(odd, new_trace_id()))]
    store = open_store(urls[0])
    store.migrate()
    store.write(
        batches(*(one for part in items for one in part), logs=in_trace([*logs, *odd_logs], new_trace_id())), [], NOW
    )
    if trace and logs:
        store.write(batches(logs=in_trace(logs, items[0][0].trace_id)), [], NOW)
    settle(store)

    take_in(urls[1], exported(store))

    compare(urls[0], store, urls[1], [item.trace_id for item in store.selected_traces(Selection(), 100)])
    store.close()


def _as_received(logs: list[LogEvent]) -> list[LogEvent]:
    """The same log events with names that receivers keep."""
    return [item if is_ours(item.name) else replace(item, name=f"gen_ai.{item.name}") for item in logs]


def test_a_trace_of_thousands_of_spans_goes_out_in_slices(store: Store, tmp_path: Path) -> None:
    trace_id = new_trace_id()
    many = [stage(1, 0, "workflow", trace_id=trace_id), *(span(n, 1, trace_id=trace_id) for n in range(2, 2_502))]
    store.write(batches(*many), [], NOW)
    content = exported(store)

    assert content.count(b"\n") == 3
    imported, _ = take_in(f"sqlite:///{tmp_path / 'other.db'}", content)
    assert (imported.spans, imported.traces) == (2_501, 1)


def test_an_export_holds_what_was_chosen(store: Store) -> None:
    one, other = (new_trace_id() for _ in range(2))
    store.write(batches(*(span(1, trace_id=trace_id, name=trace_id) for trace_id in (one, other))), [], NOW)

    assert one.encode() in exported(store, Selection(trace_id=one))
    assert other.encode() not in exported(store, Selection(trace_id=one))
    assert exported(store, Selection(run_id="none")) == b""


def test_stages_come_a_line_each(store: Store) -> None:
    store.write(batches(stage(1, 0, "workflow"), stage(2, 1, "retrieval")), [], NOW)

    ((traces, lines),) = jsonl(store, Selection())

    assert (traces, len(lines)) == (1, 2)
    assert b'"stage_type":"retrieval"' in lines[1]


# Files that others wrote


@pytest.mark.parametrize("name", ["collector.jsonl", "collector.zstd"])
def test_what_the_collector_wrote(db_url: str, name: str) -> None:
    """Recorded from the file exporter of the Collector v0.159.0, without compression and with zstd."""
    imported, refused = take_in(db_url, (GOLDEN / "files" / name).read_bytes())

    assert imported == Imported(spans=14, duplicates=0, conflicts=0, logs=10, others=0, rejected=0, traces=2)
    assert refused == []
    store = open_store(db_url)
    for golden in ("native", "logs"):
        trace_id = f"{0xC0FFEE00 + len(golden):032x}"
        expected = assemble(in_trace(golden_spans(golden), trace_id), in_trace(golden_logs(golden), trace_id))
        by_id = sorted(store.trace_stages(trace_id), key=lambda item: item.stage_id)
        assert by_id == sorted(expected.stages, key=lambda item: item.stage_id)
    store.close()


def test_what_the_sdk_wrote(db_url: str) -> None:
    """Recorded from opentelemetry-exporter-otlp-json-file 0.66b1."""
    imported, refused = take_in(db_url, (GOLDEN / "files" / "python-sdk.jsonl").read_bytes())

    assert (imported.spans, imported.traces, refused) == (3, 1, [])
    store = open_store(db_url)
    assert store.run("from-file").stages == 3
    store.close()


# What is refused


def test_bad_lines_cost_no_others_and_are_kept_as_rejects(store: Store, db_url: str) -> None:
    good = [span(n, trace_id=new_trace_id()) for n in (1, 2)]
    other = open_store(db_url)
    lines = [b"nonsense", *(line for item in good for line in _lines(item)), b'{"resourceMetrics": []}']
    bad_span = _lines(span(3))[0].replace(sid(3).encode(), b"1234")
    imported, refused = take_in(db_url, b"\n".join([*lines, bad_span]))

    assert (imported.spans, imported.rejected) == (2, 3)
    assert [item.line for item in refused] == [1, 4, 5]
    assert "not JSON" in refused[0].reason
    assert "span_id has 2 bytes" in refused[2].reason
    assert sorted(item.peer for item in other.rejects(RejectFilter(), 10).items) == ["file:1", "file:4", "file:5"]
    other.close()


def _lines(*items: Span) -> list[bytes]:
    return [encode(items)]


def test_strict_stops_at_the_first(db_url: str) -> None:
    good = [_lines(span(1, trace_id=new_trace_id()))[0] for _ in range(3)]
    imported, refused = take_in(db_url, b"\n".join([good[0], b"nonsense", *good[1:], b"more"]), strict=True)

    assert (imported.spans, imported.rejected, [item.line for item in refused]) == (1, 1, [2])


def test_a_trace_in_pieces_is_whole_at_the_end(db_url: str) -> None:
    pieces = [_lines(item)[0] for item in (stage(3, 2, "retrieval"), stage(2, 1, "tool"), stage(1, 0, "workflow"))]
    take_in(db_url, b"\n".join(pieces))

    store = open_store(db_url)
    (found,) = [item for item in store.trace_stages(span(1).trace_id) if item.stage_type == "retrieval"]
    assert found.parent_stage_id == sid(2)
    assert store.due_traces(2**62, 1) == []
    store.close()


def test_log_events_before_and_after_their_span(db_url: str) -> None:
    said = {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"}
    before = encode_logs([log(1, "evalvault.asset.used", said)])
    after = encode_logs([log(1, "evalvault.asset.used", {**said, "evalvault.asset.name": "q"}, ms=2)])
    imported, _ = take_in(db_url, b"\n".join([before, _lines(stage(1, 0, "tool"))[0], after]))

    store = open_store(db_url)
    assert (imported.spans, imported.logs) == (1, 2)
    assert [use.name for use in store.asset_uses(span(1).trace_id)] == ["p", "q"]
    store.close()
