"""Rules of OTLP that no other test shows: see docs/otlp-conformance.md."""

from collections.abc import Iterator
from itertools import product

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from evalvault_otel.store import open_store
from evalvault_otel.wire import protobuf
from tests.support.clients import body_of, trace_of
from tests.support.otlp import otlp_message
from tests.support.server import Server, running_server
from tests.support.traces import new_trace_id, span, stage

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite for all tests of this module."""
    folder = tmp_path_factory.mktemp("rules")
    with running_server(f"sqlite:///{folder / 'test.db'}", folder / "server.log") as server:
        yield server


def test_a_repaired_text_is_stored_and_told_as_a_warning(one: Server) -> None:
    sent = stage(1, 0, "tool", name="a@b", trace_id=new_trace_id())
    body = otlp_message([sent]).SerializeToString().replace(b"a@b", b"a\xffb")

    response = requests.post(f"http://{one.http}/v1/traces", body, headers=PROTOBUF, timeout=10)

    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, partial.rejected_spans) == (200, 0)
    assert "not UTF-8" in partial.error_message
    store = open_store(one.db)
    assert [found.name for found in store.spans(sent.trace_id)] == ["a\ufffdb"]
    store.close()


def test_entity_references_of_a_resource_are_ignored() -> None:
    message = otlp_message([span(1)])
    message.resource_spans[0].resource.entity_refs.add(type="service", id_keys=["service.name"])

    decoded = protobuf.decode(message.SerializeToString())

    assert decoded.spans == [span(1)]
    assert decoded.rejects == []


def test_answers_are_never_compressed(one: Server) -> None:
    headers = {**PROTOBUF, "Accept-Encoding": "gzip, deflate, zstd"}
    for body in (body_of(trace_of()), b"\xff\xff"):
        response = requests.post(f"http://{one.http}/v1/traces", body, headers=headers, timeout=10)
        assert "Content-Encoding" not in response.headers


METHODS = ("GET", "POST", "PUT", "HEAD", "OPTIONS")
PATHS = ("/", "/v1/traces/", "//v1/traces", "/v1", "/v1/traces/../logs", "/api/runs", "/docs/")


def test_nothing_is_ever_a_redirect(one: Server) -> None:
    for address, method, path in product((one.http, one.api), METHODS, PATHS):
        url = f"http://{address}{path}"
        response = requests.request(method, url, headers=PROTOBUF, allow_redirects=False, timeout=10)
        assert not 300 <= response.status_code < 400
