"""A probe: one small trace sent to a running receiver as an application would, and asked for at the query API.

Every way in which this can fail comes back as a sentence with its remedy, not as an exception.
"""

import http.client
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from ..errors import InvalidInput
from ..model import Span
from ..wire import identity, protobuf

SERVICE: Final = "evalvault-otel-doctor"
_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.02
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PATH: Final = "/v1/traces"
_OK: Final = 200
_UNAUTHORIZED: Final = {401, 403}
_NOT_FOUND: Final = 404
_NO_ROUTE: Final = {404, 405}
_KEY_HINT: Final = "give a key with the scope `{scope}` in EVALVAULT_API_KEYS or --key-file"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send: `grpc` or `http`, with or without TLS, and the folder in front of the path, if any."""

    protocol: str
    tls: bool
    host: str
    port: int
    path: str = ""

    @property
    def address(self) -> str:
        """`host:port`, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Access:
    """What to show and whom to trust: API keys for sending and reading, and a file of authorities (PEM)."""

    ingest_key: str | None = None
    read_key: str | None = None
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the probe: whether it worked, after how many milliseconds since the begin, or why not."""

    name: str
    ok: bool
    after_ms: float | None
    says: str = ""
    reachable: bool = True


def target_of(endpoint: str, protocol: str | None = None) -> Target:
    """What an endpoint means: `http://…`, `https://…`, `grpc://…`, `grpcs://…` or `host:port`; port 4317 is gRPC.

    Raises:
        InvalidInput: it is none of these.
    """
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in {"", "http", "https", "grpc", "grpcs"}:
        raise InvalidInput(f"{endpoint!r} is no endpoint: use http://host:4318, grpc://host:4317 or https://host:4318")
    named = protocol or ("grpc" if parts.scheme.startswith("grpc") or port == _GRPC_PORT else "http")
    usual = _GRPC_PORT if named == "grpc" else _HTTP_PORT
    path = parts.path.rstrip("/").removesuffix(_PATH)
    return Target(named, parts.scheme in {"https", "grpcs"}, host, port or usual, path)


def probe_spans(now_ns: int) -> tuple[str, list[Span]]:
    """The run id and the spans of a probe: a root with a retrieval and an output, a few milliseconds in the past."""
    run_id = f"doctor@{datetime.fromtimestamp(now_ns // 1_000_000_000, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"
    said: list[tuple[str, Mapping[str, Any]]] = [
        ("doctor", {"evalvault.run.id": run_id, "evalvault.run.kind": "test"}),
        ("probe retrieval", {"evalvault.stage.type": "retrieval", "evalvault.retrieval.doc_ids": ["probe"]}),
        ("probe output", {"evalvault.stage.type": "output", "evalvault.output.answer": "it works"}),
    ]
    trace_id, ids = secrets.token_hex(16), [secrets.token_hex(8) for _ in said]
    resource = identity.resource({"service.name": SERVICE}, 0, "")
    scope = identity.scope(SERVICE, "", {}, 0, "")
    start = now_ns - 3_000_000
    spans = [
        Span(
            trace_id=trace_id, span_id=ids[place], parent_span_id=ids[0] if place else "", name=name, kind=1,
            start_ns=start + place * 1_000_000, end_ns=now_ns if not place else start + (place + 1) * 1_000_000,
            status_code=0, status_message="", attributes=attributes, events=(), links=(), dropped_attributes=0,
            dropped_events=0, dropped_links=0, flags=0x101, trace_state="", resource=resource, scope=scope,
        )
        for place, (name, attributes) in enumerate(said)
    ]  # fmt: skip
    return run_id, spans


def send(target: Target, spans: list[Span], access: Access) -> Step:
    """Send the spans; the step `arrived`."""
    begin = time.monotonic()
    body = protobuf.encode(spans)
    problem = _over_grpc(target, body, access) if target.protocol == "grpc" else _over_http(target, body, access)
    if problem is None:
        return Step("arrived", ok=True, after_ms=_ms_since(begin))
    says, reachable = problem
    return Step("arrived", ok=False, after_ms=None, says=says, reachable=reachable)


def follow(api: Target, trace_id: str, access: Access, wait_s: float = _TIMEOUT_S) -> list[Step]:
    """Ask the query API until the trace has stages; the steps `stored` and `stages`."""
    begin = time.monotonic()
    stored: Step | None = None
    while True:
        status, answer, problem = _get(api, f"{api.path}/api/traces/{trace_id}", access)
        if problem:
            return [Step("stored", ok=False, after_ms=None, says=problem, reachable=status != 0)]
        if status == _OK and stored is None:
            stored = Step("stored", ok=True, after_ms=_ms_since(begin))
        if stored and answer.get("assembled"):
            types = sorted({item["stage"]["stage_type"] for item in answer.get("stages", ())})
            return [stored, Step("stages", ok={"retrieval", "output"} <= set(types), after_ms=_ms_since(begin),
                                 says=", ".join(types) or "there are none")]  # fmt: skip
        if time.monotonic() - begin > wait_s:
            return _gave_up(stored, api, wait_s)
        time.sleep(_POLL_S)


def _gave_up(stored: Step | None, api: Target, wait_s: float) -> list[Step]:
    if stored:
        return [stored, Step("stages", ok=False, after_ms=None, says=f"not assembled after {wait_s:g} s: read the log")]
    says = (
        f"acknowledged, but the query API on {api.address} does not know it after {wait_s:g} s: does it belong to this "
        f"receiver, and do both use one database?"
    )
    return [Step("stored", ok=False, after_ms=None, says=says)]


def _ms_since(begin: float) -> float:
    return round((time.monotonic() - begin) * 1000, 2)


# HTTP.

_Problem = tuple[str, bool]


def _headers(key: str | None) -> dict[str, str]:
    return {"x-api-key": key} if key else {}


def _request(
    target: Target, asked: str, body: bytes | None, headers: Mapping[str, str], ca: str | None
) -> tuple[int, bytes]:
    """Status and body of the answer to `asked`: a method and a path.

    Raises:
        OSError, http.client.HTTPException: there is none.
    """
    if target.tls:
        context = ssl.create_default_context(cafile=ca)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            target.host, target.port, timeout=_TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=_TIMEOUT_S)
    try:
        method, path = asked.split(" ", 1)
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _over_http(target: Target, body: bytes, access: Access) -> _Problem | None:
    headers = {"content-type": "application/x-protobuf", **_headers(access.ingest_key)}
    try:
        status, answer = _request(target, f"POST {target.path}{_PATH}", body, headers, access.ca)
    except (OSError, http.client.HTTPException) as exc:
        return _no_answer(target, exc), False
    if status == _OK:
        rejected = ExportTraceServiceResponse.FromString(answer).partial_success
        return (f"refused by the receiver: {rejected.error_message}", True) if rejected.rejected_spans else None
    if status in _UNAUTHORIZED:
        return f"HTTP {status}: {_KEY_HINT.format(scope='ingest')}", True
    if status in _NO_ROUTE and _is_our_api(target, access):
        return f"{target.address} is the query API: send to the OTLP/HTTP receiver, by default port {_HTTP_PORT}", True
    return f"HTTP {status} for {target.path}{_PATH}: is this an OTLP receiver? `serve` prints its addresses", True


def _is_our_api(target: Target, access: Access) -> bool:
    status, answer, _ = _get(target, "/", access)
    return status == _OK and answer.get("name") == "evalvault-otel"


def _get(target: Target, path: str, access: Access) -> tuple[int, dict[str, Any], str]:
    """Status (0 without an answer), JSON answer, and what is wrong; an unknown trace is not."""
    try:
        status, body = _request(target, f"GET {path}", None, _headers(access.read_key), access.ca)
    except (OSError, http.client.HTTPException) as exc:
        return 0, {}, f"the query API does not answer: {_no_answer(target, exc)}; name it with --api"
    if status in _UNAUTHORIZED:
        return status, {}, f"the query API says {status}: {_KEY_HINT.format(scope='read')}"
    try:
        answer = orjson.loads(body)
    except ValueError:
        answer = None
    known = isinstance(answer, dict) and (status == _OK or (status == _NOT_FOUND and "error" in answer))
    if not known:
        return status, {}, f"{target.address} is not the query API (HTTP {status}): name it with --api"
    return status, answer, ""


def _no_answer(target: Target, exc: Exception) -> str:
    """Why nothing answered, in words, with the remedy."""
    at = target.address
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate of {at} is not trusted ({exc.verify_message}): name its authority with --ca"
    if isinstance(exc, ssl.SSLError):
        return f"{at} does not speak TLS: use http:// instead of https:// ({exc.reason or exc})"
    if isinstance(exc, ConnectionRefusedError):
        return f"nothing listens on {at}: is `evalvault-otel serve` running, and is the port right?"
    if isinstance(exc, socket.gaierror):
        return f"there is no host {target.host!r}"
    if isinstance(exc, TimeoutError):
        return f"{at} did not answer within {_TIMEOUT_S:g} s: a firewall, or another kind of server"
    if not target.tls and _speaks_tls(target):
        return f"{at} speaks TLS: use https:// instead of http://"
    return f"{at} does not speak HTTP/1.1: if it is the OTLP/gRPC receiver, use grpc:// ({type(exc).__name__})"


def _speaks_tls(target: Target) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent, only the protocol is asked
    try:
        with socket.create_connection((target.host, target.port), _TIMEOUT_S) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as exc:
        return "CERTIFICATE_REQUIRED" in str(exc.reason)
    except OSError:
        return False


# gRPC.


def _over_grpc(target: Target, body: bytes, access: Access) -> _Problem | None:
    metadata = tuple(_headers(access.ingest_key).items())
    answered: Callable[..., bytes]
    with _channel(target, access) as channel:
        answered = channel.unary_unary(_EXPORT)
        try:
            answer = ExportTraceServiceResponse.FromString(answered(body, timeout=_TIMEOUT_S, metadata=metadata))
        except grpc.RpcError as exc:
            return _grpc_problem(target, exc.code(), str(exc.details() or ""))
    rejected = answer.partial_success
    return (f"refused by the receiver: {rejected.error_message}", True) if rejected.rejected_spans else None


def _channel(target: Target, access: Access) -> Any:
    if not target.tls:
        return grpc.insecure_channel(target.address)
    roots = None
    if access.ca:
        with open(access.ca, "rb") as file:  # noqa: PTH123 - as `ssl` reads the same path
            roots = file.read()
    return grpc.secure_channel(target.address, grpc.ssl_channel_credentials(roots))


def _grpc_problem(target: Target, code: Any, details: str) -> _Problem:
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        return f"{code.name}: {_KEY_HINT.format(scope='ingest')}", True
    if code not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return f"{code.name}: {details}: is this an OTLP/gRPC receiver?", True
    if "connection refused" in details.lower():
        return _no_answer(target, ConnectionRefusedError()), False
    at = target.address
    if target.tls:
        plain = not _speaks_tls(target)
        hint = "it does not speak TLS: use grpc://" if plain else "is its authority known? Name it with --ca"
        return f"no TLS connection to {at}: {hint}", False
    if _speaks_tls(target):
        return f"{at} speaks TLS: use grpcs:// instead of grpc://", False
    return f"{at} does not speak gRPC: if it is the OTLP/HTTP receiver, use http:// ({details[:120]})", False
