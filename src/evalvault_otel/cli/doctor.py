"""`doctor`: what arrives, what it lacks and what helps; and whether a running endpoint takes a trace and shows it."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..analysis.doctor import MOST_SPANS, MOST_TRACES, diagnose
from ..analysis.doctor_model import Counted, Diagnosed, ScopePart, ServicePart
from ..conventions.rules_file import conventions_of
from ..errors import InvalidInput, Unavailable
from ..settings import Settings, load
from .options import AsJson, Db, Rules, reading_store
from .output import print_json
from .times import since_ns

if TYPE_CHECKING:
    from ..server.probe import Access, Step

_PROBLEMS, _NOTHING, _UNREACHABLE = 1, 1, 3


def doctor(
    endpoint: Annotated[
        str | None,
        typer.Argument(help="A running receiver to send a probe trace to: http://host:4318, grpc://host:4317."),
    ] = None,
    db: Db = None,
    since: Annotated[str | None, typer.Option(help="Only what came since then: 90m, 12h, 30d, or a date.")] = None,
    traces: Annotated[int, typer.Option(min=1, max=10_000, help="How many traces to look at.")] = MOST_TRACES,
    rules: Rules = None,
    api: Annotated[
        str | None, typer.Option(help="The query API to ask for the probe: URL or host:port  [default: EVALVAULT_API]")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="A file that holds the API key for the probe.")] = None,
    ca: Annotated[Path | None, typer.Option(help="Authorities (PEM file) to trust with https:// and grpcs://.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what arrives per service, what it lacks, and what helps; with ENDPOINT also send a trace and follow it.

    Exits with 1 when something is to be mended or there is nothing to look at, with 3 when the endpoint or the
    database cannot be reached.

    Example: `evalvault-otel doctor http://127.0.0.1:4318 --since 1h`
    """
    settings = load({"db": db, "rules": rules})
    steps = _probe(endpoint, api, _access(settings, key_file, ca), settings) if endpoint else []
    found, absent = _diagnosed(settings, since, traces, optional=bool(endpoint) and db is None)
    if as_json:
        print_json({"probe": steps or None, "diagnosis": found})
    else:
        for line in (*_probe_lines(endpoint, steps), *([absent] if absent else ()), *_lines(found)):
            typer.echo(line)
    if any(not step.reachable for step in steps):
        raise typer.Exit(_UNREACHABLE)
    if any(not step.ok for step in steps) or (found and found.troubles):
        raise typer.Exit(_PROBLEMS)
    if found and not found.sample.traces and not steps:
        raise typer.Exit(_NOTHING)


def _diagnosed(settings: Settings, since: str | None, traces: int, *, optional: bool) -> tuple[Diagnosed | None, str]:
    """The diagnosis of the database; without one, why, if that is all right."""
    try:
        begin_ns = None if since is None else since_ns(since, time.time_ns())
        return diagnose(
            reading_store(settings.db), begin_ns, traces, max(MOST_SPANS, traces), conventions_of(settings.rules)
        ), ""
    except Unavailable as exc:
        if not optional:
            raise
        return None, f"no diagnosis of what arrived before: {exc}"


def _probe(endpoint: str, api: str | None, access: "Access", settings: Settings) -> "list[Step]":
    from ..server.probe import follow, probe_spans, send, target_of

    target = target_of(endpoint)
    asked = api or _reachable(settings.api)
    if "://" not in asked:
        asked = f"{'https' if target.tls or settings.tls_cert else 'http'}://{asked}"
    asked_at = target_of(asked, "http")
    _, spans = probe_spans(time.time_ns())
    arrived = send(target, spans, access)
    if not arrived.ok:
        return [arrived]
    return [arrived, *follow(asked_at, spans[0].trace_id, access)]


def _reachable(address: str) -> str:
    """The address to ask where a server listens on all of them."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in {"0.0.0.0", "", "[::]"} else address  # noqa: S104 - compared, not bound


def _access(settings: Settings, key_file: Path | None, ca: Path | None) -> "Access":
    from ..server.probe import Access

    if ca is not None and not ca.is_file():
        raise InvalidInput(f"--ca {ca}: there is no such file")
    trusted = None if ca is None else str(ca)
    if key_file is not None:
        key = _key_in(key_file)
        return Access(key, key, trusted)
    return Access(_key_for("ingest", settings.api_keys), _key_for("read", settings.api_keys), trusted)


def _key_in(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise InvalidInput(f"--key-file {file}: {reason}: give a file that holds one key") from exc


def _key_for(scope: str, api_keys: str) -> str | None:
    """The first key of the setting that may do it; a key without scopes may ingest and read."""
    for entry in filter(None, map(str.strip, api_keys.split(","))):
        scopes, colon, key = entry.partition(":")
        if not colon or {scope, "admin"} & set(scopes.lower().split("+")):
            return (key if colon else entry).strip()
    return None


# Text for people.


def _probe_lines(endpoint: str | None, steps: "Sequence[Step]") -> Iterator[str]:
    if not steps:
        return
    yield f"probe of {endpoint}"
    for step in steps:
        after = "" if step.after_ms is None else f" after {step.after_ms:g} ms"
        says = f": {step.says}" if step.says else ""
        yield f"  {step.name:8} {'yes' if step.ok else 'NO'}{after}{says}"
    yield ""


def _lines(found: Diagnosed | None) -> Iterator[str]:
    if found is None:
        return
    sample = found.sample
    if not sample.traces:
        yield "no traces to look at: send some to `evalvault-otel serve`, or widen --since"
    else:
        which = "all there are" if sample.complete else "the latest; more are there"
        yield f"looked at {sample.traces:,} traces, {sample.spans:,} spans ({which}), received until {sample.newest}"
    yield ""
    if sample.traces or found.troubles:
        yield f"{len(found.troubles)} to mend" if found.troubles else "nothing to mend"
    for trouble in found.troubles:
        yield f"  {f'{trouble.service}: ' if trouble.service else ''}{trouble.what}"
        yield f"    fix: {trouble.fix}"
    for service in found.services:
        yield ""
        yield from _service_lines(service)


def _service_lines(service: ServicePart) -> Iterator[str]:
    yield f"service {service.service}: {service.traces:,} traces, {service.spans:,} spans"
    for scope in service.scopes:
        yield from _scope_lines(scope)
    for stage in service.stages:
        lacking = f", without {_listed(stage.missing)}" if stage.missing else ""
        yield f"  stage {stage.stage_type}: {stage.count:,}{lacking}"
    for finding in service.findings:
        yield f"  {finding.severity} {finding.code}: {finding.traces:,} traces, for example: {finding.detail}"


def _scope_lines(scope: ScopePart) -> Iterator[str]:
    language = f", {scope.language}" if scope.language else ""
    yield f"  scope {scope.name or '(no name)'} {scope.version}: {scope.spans:,} spans{language}"
    rows: list[tuple[str, Any]] = [
        ("conventions", _listed(scope.conventions) or "none that is known"),
        ("GenAI generation", scope.generation),
        ("schema", ", ".join(scope.schema_urls)),
        ("deprecated", _listed(scope.deprecated, " now ")),
        ("nobody's names", _listed(scope.unknown, " ")),
        ("conflicts", _listed(scope.conflicts)),
    ]
    for name, value in rows:
        if value:
            yield f"    {name}: {value}"


def _listed(items: Sequence[Counted], joint: str = "") -> str:
    shown = ((f"{item.name}{joint}{item.remedy}" if joint and item.remedy else item.name, item.count) for item in items)
    return ", ".join(f"{name} ({count:,})" for name, count in shown)
