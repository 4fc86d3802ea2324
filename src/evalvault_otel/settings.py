"""Settings: one frozen record, read and checked once at the start. Nothing else of the server reads the environment."""

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import SettingsError

MIB = 1024 * 1024
_MAX_PORT = 65535
# gRPC keeps the limit in 32 bits.
_MAX_REQUEST_BYTES = 2**31 - 1


def _setting(default: Any, env: str, doc: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"env": env, "doc": doc}, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Addresses are `host:port`; port 0 takes any free port.

    Raises:
        SettingsError: an address that is none, a size or time that is not positive, a non-loopback address
            without keys and without `insecure`, or a certificate without its key.
    """

    db: str = _setting(
        "evalvault.db", "EVALVAULT_DB", "where to keep everything: a path, `sqlite:///…` or `postgresql://…`"
    )
    grpc: str = _setting("127.0.0.1:4317", "EVALVAULT_GRPC", "address of the OTLP/gRPC receiver")
    http: str = _setting("127.0.0.1:4318", "EVALVAULT_HTTP", "address of the OTLP/HTTP receiver")
    api: str = _setting("127.0.0.1:8000", "EVALVAULT_API", "address of the query API")
    workers: int = _setting(
        1, "EVALVAULT_WORKERS", "receiver processes on the same addresses (more than 1: PostgreSQL)"
    )
    insecure: bool = _setting(
        default=False,
        env="EVALVAULT_INSECURE",
        doc="allow addresses other than loopback although there are no API keys",
    )
    api_keys: str = _setting(
        "",
        "EVALVAULT_API_KEYS",
        "API keys, `scope:key` separated by commas; none: no key is asked (no option: others can see a command line)",
        secret=True,
    )
    api_keys_file: str = _setting(
        "", "EVALVAULT_API_KEYS_FILE", "file of hashed API keys, from `evalvault-otel keys create`"
    )
    rate_requests: float = _setting(
        0.0, "EVALVAULT_RATE_REQUESTS", "export requests per second that each API key may send; 0: no limit"
    )
    rate_bytes: float = _setting(
        0.0, "EVALVAULT_RATE_BYTES", "bytes of export requests per second that each API key may send; 0: no limit"
    )
    tls_cert: str = _setting("", "EVALVAULT_TLS_CERT", "certificate chain (PEM file) of all addresses; none: no TLS")
    tls_key: str = _setting("", "EVALVAULT_TLS_KEY", "private key (PEM file) of the certificate")
    tls_client_ca: str = _setting(
        "", "EVALVAULT_TLS_CLIENT_CA", "ask clients of the receivers for a certificate of these authorities (PEM file)"
    )
    cors_origins: str = _setting(
        "", "EVALVAULT_CORS_ORIGINS", "origins whose pages may send OTLP/HTTP, separated by commas; none: no CORS"
    )
    other_signals: str = _setting(
        "reject", "EVALVAULT_OTHER_SIGNALS", "metrics and logs that are not kept: `reject`, or `discard` with success"
    )
    max_request_bytes: int = _setting(
        64 * MIB, "EVALVAULT_MAX_REQUEST_BYTES", "largest OTLP request, as received and after decompression"
    )
    max_queue_bytes: int = _setting(
        64 * MIB,
        "EVALVAULT_MAX_QUEUE_BYTES",
        "bytes of requests that may wait for storage before clients are told to retry",
    )
    commit_bytes: int = _setting(8 * MIB, "EVALVAULT_COMMIT_BYTES", "bytes of requests put into one transaction")
    ack_timeout_s: float = _setting(
        8.0,
        "EVALVAULT_ACK_TIMEOUT_S",
        "a request not stored after this time is answered with retry (clients wait 10 s)",
    )
    commit_delay_ms: float = _setting(
        2.0, "EVALVAULT_COMMIT_DELAY_MS", "how long a transaction waits for more requests to share it"
    )
    read_timeout_s: float = _setting(
        10.0, "EVALVAULT_READ_TIMEOUT_S", "a client that has not sent its whole request after this time is cut off"
    )
    spool: str = _setting(
        "evalvault-spool", "EVALVAULT_SPOOL", "folder that takes requests while PostgreSQL is away, or `off`"
    )
    max_spool_bytes: int = _setting(512 * MIB, "EVALVAULT_MAX_SPOOL_BYTES", "bytes that the spool may hold")
    quiet_ms: float = _setting(
        2000.0,
        "EVALVAULT_QUIET_MS",
        "a trace without its root (or with a parent missing) is assembled after this pause",
    )
    max_streams: int = _setting(
        64, "EVALVAULT_MAX_STREAMS", "readers of the live stream that one server process has at a time"
    )
    stream_heartbeat_s: float = _setting(
        15.0, "EVALVAULT_STREAM_HEARTBEAT_S", "a live stream without events gives a sign of life after this time"
    )
    max_rejects: int = _setting(10_000, "EVALVAULT_MAX_REJECTS", "rejects kept; the oldest go first")
    max_reject_bytes: int = _setting(
        64 * MIB, "EVALVAULT_MAX_REJECT_BYTES", "bytes of payloads of all rejects kept; the oldest go first"
    )
    rules: str = _setting("", "EVALVAULT_RULES", "YAML file that says what names of your own mean; none: no rules")
    run_fallback: str = _setting(
        "service-day", "EVALVAULT_RUN_FALLBACK", "run of a trace that names none: `service-day`, or the `trace` itself"
    )
    run_from_session: bool = _setting(
        default=False,
        env="EVALVAULT_RUN_FROM_SESSION",
        doc="a session or conversation id is the run where no run is named",
    )
    expected_assets: str = _setting(
        "route_plan=prompt,policy,schema; validate=policy; execute=query,source,tool; compose=prompt,mapping; "
        "present=screen,prompt; retrieval=index,query; output=prompt,model",
        "EVALVAULT_EXPECTED_ASSETS",
        "kinds of assets that stages are expected to use, per stage type; `none`: no expectation",
    )
    thresholds: str = _setting(
        "", "EVALVAULT_THRESHOLDS", "JSON file of thresholds of metrics, laid over the defaults; none: the defaults"
    )
    required_stages: str = _setting(
        "input,retrieval,output", "EVALVAULT_REQUIRED_STAGES", "stage types that every trace should have; `none`: none"
    )
    phoenix_url: str = _setting("", "EVALVAULT_PHOENIX_URL", "where people open Phoenix; none: no links to it")
    jaeger_url: str = _setting("", "EVALVAULT_JAEGER_URL", "where people open Jaeger; none: no links to it")
    viewers: str = _setting(
        "", "EVALVAULT_VIEWERS", "links to other programs: `NAME=https://…{trace_id}…{span_id}`, parted by `;`"
    )
    shutdown_s: float = _setting(10.0, "EVALVAULT_SHUTDOWN_S", "how long a stop waits for requests under way")

    @property
    def expected_kinds(self) -> dict[str, tuple[str, ...]]:
        """The kinds of assets that stages are expected to use, by stage type.

        Raises:
            SettingsError: `expected_assets` is not of its form.
        """
        if self.expected_assets.strip().lower() == "none":
            return {}
        return dict(_expectation(part) for part in self.expected_assets.split(";") if part.strip())

    @property
    def required_types(self) -> tuple[str, ...]:
        """The stage types that every trace should have."""
        said = [part.strip().lower() for part in self.required_stages.split(",") if part.strip()]
        return () if said == ["none"] else tuple(dict.fromkeys(said))

    def __post_init__(self) -> None:
        _ = self.expected_kinds
        for name in ("grpc", "http", "api"):
            self._check_address(name)
        self._check_tls()
        for name in (
            "max_request_bytes",
            "max_queue_bytes",
            "commit_bytes",
            "ack_timeout_s",
            "quiet_ms",
            "max_streams",
            "stream_heartbeat_s",
            "max_rejects",
            "max_reject_bytes",
            "max_spool_bytes",
            "read_timeout_s",
            "shutdown_s",
            "workers",
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"{_named(name)} must be greater than 0, not {getattr(self, name)}")
        for name in ("commit_delay_ms", "rate_requests", "rate_bytes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"{_named(name)} must not be negative, not {getattr(self, name)}")
        if self.max_request_bytes > _MAX_REQUEST_BYTES:
            raise SettingsError(
                f"{_named('max_request_bytes')} must be at most {_MAX_REQUEST_BYTES}, not {self.max_request_bytes}"
            )
        if self.other_signals not in {"reject", "discard"}:
            raise SettingsError(f"{_named('other_signals')} must be reject or discard, not {self.other_signals!r}")
        if self.run_fallback not in {"service-day", "trace"}:
            raise SettingsError(f"{_named('run_fallback')} must be service-day or trace, not {self.run_fallback!r}")

    def _check_address(self, name: str) -> None:
        address = getattr(self, name)
        try:
            host, _ = split_address(address)
        except SettingsError as exc:
            raise SettingsError(f"{_named(name)}: {exc}") from exc
        if not (self.insecure or self.api_keys or self.api_keys_file or is_loopback(host)):
            raise SettingsError(
                f"{_named(name)}: {address} can be reached from other machines and there are no API keys: make one "
                f"(`evalvault-otel keys create`, EVALVAULT_API_KEYS_FILE) or set EVALVAULT_API_KEYS, use 127.0.0.1, "
                f"or pass --insecure if the network in front of it is trusted"
            )

    def _check_tls(self) -> None:
        for name, needed in (("tls_cert", "tls_key"), ("tls_key", "tls_cert"), ("tls_client_ca", "tls_cert")):
            if getattr(self, name) and not getattr(self, needed):
                raise SettingsError(f"{_named(name)} needs {_named(needed)} as well")


def _expectation(part: str) -> tuple[str, tuple[str, ...]]:
    stage_type, sep, listed = part.partition("=")
    kinds = tuple(kind.strip().lower() for kind in listed.split(",") if kind.strip())
    if not (sep and stage_type.strip() and kinds):
        raise SettingsError(
            f"{_named('expected_assets')}: {part.strip()!r} is not of the form stage_type=kind,kind; separate stage "
            "types with semicolons, or say none"
        )
    return stage_type.strip().lower(), kinds


def _named(name: str) -> str:
    """A setting by its option and its variable, as a complaint names it."""
    return f"--{name.replace('_', '-')} (EVALVAULT_{name.upper()})"


def load(overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment, overlaid by `overrides` (None values count as not given).

    Empty environment values count as unset.

    Raises:
        SettingsError: a value that cannot be read or cannot work; the message names the variable.
    """
    env = os.environ if env is None else env
    values: dict[str, Any] = {}
    for spec in fields(Settings):
        text = env.get(spec.metadata["env"], "").strip()
        if text:
            values[spec.name] = _parse(text, type(spec.default), spec.metadata["env"])
    values.update({k: v for k, v in (overrides or {}).items() if v is not None})
    return Settings(**values)


def _parse(text: str, kind: type, env: str) -> Any:
    if kind is bool:
        if text.lower() in {"true", "1", "yes"}:
            return True
        if text.lower() in {"false", "0", "no"}:
            return False
        raise SettingsError(f"{env}={text!r} is not a yes or no: use true or false")
    try:
        return kind(text)
    except ValueError as exc:
        raise SettingsError(f"{env}={text!r} is not a number") from exc


def child_environment(**values: str) -> dict[str, str]:
    """This process's environment for a traced child process: its own OpenTelemetry settings are `values`, no others."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}, **values}


def environment_with(**values: str) -> dict[str, str]:
    """This process's environment for a child process, with `values` besides."""
    return {**os.environ, **values}


def split_address(address: str) -> tuple[str, int]:
    """`host:port` as a pair; IPv6 hosts in brackets.

    Raises:
        SettingsError: it is not of that form.
    """
    host, sep, port = address.rpartition(":")
    if not sep or not (port.isascii() and port.isdigit()) or int(port) > _MAX_PORT:
        raise SettingsError(f"{address!r} is not an address: use host:port, for example 127.0.0.1:4317")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise SettingsError(f"{address!r} is not an address: an IPv6 host stands in brackets, for example [::1]:4317")
    return host.strip("[]") or "127.0.0.1", int(port)


def join_address(host: str, port: int) -> str:
    """`host:port`, with an IPv6 host in brackets: the reverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
