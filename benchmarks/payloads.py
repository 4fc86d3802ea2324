"""Requests as bytes, in either encoding: each made beforehand, or an endless row of them out of a few."""

import base64
import itertools
import os
import re
from collections.abc import Sequence
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_ID_BYTES = 16
_STAMP_BYTES = 8
_IDS = ("traceId", "spanId", "parentSpanId")


def encoded(request: ExportTraceServiceRequest, encoding: str) -> bytes:
    """A request in `protobuf` or `json`."""
    return _json(request) if encoding == "json" else request.SerializeToString()


def _json(request: ExportTraceServiceRequest) -> bytes:
    """OTLP/JSON: protobuf's own mapping, with ids in hex and enums as numbers."""
    document: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    for group in document["resourceSpans"]:
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                span.update({name: base64.b64decode(span[name]).hex() for name in _IDS if name in span})
    return orjson.dumps(document)


class Recycler:
    """Endless requests out of a few: the same spans again and again, as traces with fresh ids.

    A trace id is 8 random bytes, so that new rows fall anywhere into an index, and then the stamp of its request.
    """

    def __init__(self, requests: Sequence[ExportTraceServiceRequest], encoding: str) -> None:
        self._as_text = encoding == "json"
        self._originals = [self._prepared(request, encoding) for request in requests]
        self._turns = itertools.count()
        self._process = os.urandom(_STAMP_BYTES // 2)

    def fresh(self) -> tuple[bytes, str]:
        """The next request, and the stamp that its trace ids end with. Safe for many threads."""
        turn = next(self._turns)
        stamp = self._process + turn.to_bytes(_STAMP_BYTES // 2)
        original, traces = self._originals[turn % len(self._originals)]
        payload = bytearray(original)
        for places in traces:
            trace_id = os.urandom(_ID_BYTES - _STAMP_BYTES) + stamp
            written = trace_id.hex().encode() if self._as_text else trace_id
            for start in places:
                payload[start : start + len(written)] = written
        return bytes(payload), stamp.hex()

    def _prepared(self, request: ExportTraceServiceRequest, encoding: str) -> tuple[bytes, list[list[int]]]:
        """The bytes, and where in them the id of each trace stands."""
        payload = encoded(request, encoding)
        spans = request.resource_spans[0].scope_spans[0].spans
        ids = dict.fromkeys(span.trace_id for span in spans)
        written = [trace_id.hex().encode() if self._as_text else trace_id for trace_id in ids]
        return payload, [[found.start() for found in re.finditer(re.escape(each), payload)] for each in written]
