"""Settings of the application side: the environment in, one frozen record out.

As the OpenTelemetry specification has it ("Environment Variable Specification"): an empty value counts as unset, only
`true` (in any case) is true, and a number that cannot be used is warned of and replaced by its default. Nothing here
raises: a wrong variable must not keep a program from starting.
"""

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

MIB: Final = 1024 * 1024
DEFAULT_ENDPOINT: Final = "http://localhost:4318"

_LOG: Final = logging.getLogger(__name__)


def _setting(default: Any, env: str, doc: str, *, also: str = "", secret: bool = False) -> Any:
    """A setting; where `env` is unset, the variable `also` counts."""
    return field(default=default, metadata={"env": env, "also": also, "doc": doc}, repr=not secret)


@dataclass(frozen=True, slots=True)
class SdkSettings:
    """Everything that can be set for the way of spans out of the application. Times are in milliseconds."""

    endpoint: str = _setting(
        "", "EVALVAULT_ENDPOINT", f"base URL of the OTLP/HTTP receiver; neither this nor a database: {DEFAULT_ENDPOINT}"
    )
    api_url: str = _setting("http://localhost:8000", "EVALVAULT_API_URL", "address of the API, for `StageTracer`")
    db: str = _setting(
        "", "EVALVAULT_DB", "database to write to without a server: a path or `postgresql://…`; an endpoint goes first"
    )
    api_key: str = _setting("", "EVALVAULT_API_KEY", "API key, sent as `x-api-key`", secret=True)
    certificate: str = _setting("", "EVALVAULT_CERTIFICATE", "PEM file of the authorities that the receiver is held to")
    compression: str = _setting("none", "EVALVAULT_COMPRESSION", "of requests: `none` or `gzip`")
    export_timeout_ms: int = _setting(
        10_000,
        "EVALVAULT_EXPORT_TIMEOUT_MS",
        "how long a batch may take, all attempts together",
        also="OTEL_BSP_EXPORT_TIMEOUT",
    )
    schedule_delay_ms: int = _setting(
        1000, "EVALVAULT_SCHEDULE_DELAY_MS", "the longest pause between batches", also="OTEL_BSP_SCHEDULE_DELAY"
    )
    max_queue_size: int = _setting(
        8192, "EVALVAULT_MAX_QUEUE_SIZE", "spans that may wait; more are dropped", also="OTEL_BSP_MAX_QUEUE_SIZE"
    )
    max_queue_bytes: int = _setting(
        24 * MIB, "EVALVAULT_MAX_QUEUE_BYTES", "memory that waiting spans may take, estimated; more are dropped"
    )
    max_batch_size: int = _setting(
        512, "EVALVAULT_MAX_BATCH_SIZE", "spans per request", also="OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    )
    shutdown_timeout_ms: int = _setting(
        5000, "EVALVAULT_SHUTDOWN_TIMEOUT_MS", "how long the end of the program may be delayed"
    )
    trust_baggage: bool = _setting(
        default=False,
        env="EVALVAULT_TRUST_BAGGAGE",
        doc="believe run and test case ids in the baggage of callers",
    )
    run_id: str = _setting("", "EVALVAULT_RUN_ID", "run of the whole process, put on its resource by the detector")
    enabled: bool = _setting(
        default=False, env="EVALVAULT_OTEL_ENABLED", doc="let `opentelemetry-instrument` add the span processor"
    )
    strict: bool = _setting(default=False, env="EVALVAULT_STRICT", doc="problems of ours raise, for tests")


def read_settings(env: Mapping[str, str] | None = None, **given: Any) -> SdkSettings:
    """Settings from the environment, overlaid by those given (None counts as not given). Never raises."""
    env = os.environ if env is None else env
    found = {spec.name: _read(env, spec.metadata, spec.default) for spec in fields(SdkSettings)}
    return _usable(replace(SdkSettings(**found), **{name: value for name, value in given.items() if value is not None}))


def sdk_disabled(env: Mapping[str, str] | None = None) -> bool:
    """Whether OpenTelemetry is switched off (`OTEL_SDK_DISABLED`)."""
    env = os.environ if env is None else env
    return env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def is_set(name: str) -> bool:
    """Whether the environment has a value for a variable."""
    return bool(os.environ.get(name, "").strip())


def _read(env: Mapping[str, str], names: Mapping[str, str], default: Any) -> Any:
    for name in (names["env"], names["also"]):
        text = env.get(name, "").strip() if name else ""
        if text:
            return _parsed(name, text, default)
    return default


def _parsed(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if 0 < number < math.inf:
        return max(1, int(number))
    _LOG.warning("%s=%r is not a number greater than 0: %s is used", name, text, default)
    return default


def _usable(settings: SdkSettings) -> SdkSettings:
    """The settings without what cannot work together."""
    for spec in fields(SdkSettings):
        value = getattr(settings, spec.name)
        if type(spec.default) is int and not 0 < value < math.inf:
            _LOG.warning("%s must be greater than 0, not %r: %s is used", spec.name, value, spec.default)
            changed: dict[str, Any] = {spec.name: spec.default}
            settings = replace(settings, **changed)
    if settings.compression not in {"none", "gzip"}:
        _LOG.warning("compression must be none or gzip, not %r: none is used", settings.compression)
        settings = replace(settings, compression="none")
    return replace(settings, max_batch_size=min(settings.max_batch_size, settings.max_queue_size))
