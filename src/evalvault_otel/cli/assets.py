"""`assets list`, `assets show` and `assets graph`: which assets there are, one of them, and who used what in a run."""

import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from ..analysis.asset_drift import AssetDrift
from ..analysis.asset_graph import asset_graph, to_mermaid
from ..analysis.figures import duration, number, percent
from ..analysis.ledger import AssetLedger, VersionEntry, asset_ledger, asset_page
from ..analysis.version_compare import VersionComparison
from ..errors import NotFound
from ..store.asset_records import AssetFilter
from .options import AsJson, Db, Limit, reading_store
from .output import print_json, print_table
from .times import since_ns

app = typer.Typer(name="assets", help="Assets: which were used, in which versions, by whom.", no_args_is_help=True)


class Format(StrEnum):
    """How a graph is written."""

    MERMAID = "mermaid"
    JSON = "json"


@app.command("list")
def list_(
    db: Db = None,
    kind: Annotated[str | None, typer.Option(help="Only assets of this kind: prompt, policy, query, …")] = None,
    q: Annotated[str | None, typer.Option("-q", "--q", help="Only assets with this in their name.")] = None,
    since: Annotated[str | None, typer.Option(help="Used since: a date, a time, or how long ago (90m, 7d).")] = None,
    until: Annotated[str | None, typer.Option(help="Used before: as --since.")] = None,
    limit: Limit = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the assets that were used, by kind and name.

    Example: `evalvault-otel assets list --kind prompt --since 7d`
    """
    now_ns = time.time_ns()
    bounds = [None if moment is None else since_ns(moment, now_ns) for moment in (since, until)]
    page = asset_page(reading_store(db), AssetFilter(kind, q, *bounds), limit, cursor)
    if not page.assets:
        raise NotFound("no asset found: record `evalvault.asset.used` events, or ask for less")
    if as_json:
        print_json(page)
        return
    columns = ("KIND", "NAME", "VERSIONS", "LATEST", "USES", "FALLBACKS", "RUNS", "FIRST USE", "LAST USE")
    lines = (
        (
            *(item.kind, item.name, item.versions, item.latest_version, item.uses, item.fallbacks, item.runs),
            *(item.first_used, item.last_used),
        )
        for item in page.assets
    )
    print_table(columns, lines, numbers=("VERSIONS", "USES", "FALLBACKS", "RUNS"))
    if page.next_cursor:
        typer.echo(f"… more: use --cursor {page.next_cursor}")


@app.command("show")
def show(
    kind: Annotated[str, typer.Argument(help="Its kind: prompt, policy, query, …")],
    name: Annotated[str, typer.Argument(help="Its name, as `assets list` shows it.")],
    db: Db = None,
    before: Annotated[str | None, typer.Option(help="A version to compare, with --after.")] = None,
    after: Annotated[str | None, typer.Option(help="The version to compare it with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show an asset: its versions in the order they appeared, the last two compared, and where it drifted.

    Example: `evalvault-otel assets show prompt answer --before 1 --after 3`
    """
    found = asset_ledger(reading_store(db), kind, name, before, after)
    if as_json:
        print_json(found)
        return
    _say_versions(found)
    if found.comparison is not None:
        _say_comparison(found.comparison)
    for line in _drift_lines(found.drift):
        typer.echo(line)


@app.command("graph")
def graph(
    run_id: Annotated[str, typer.Argument(help="A run id, as `evalvault-otel runs` shows it.")],
    db: Db = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to write it.")] = Format.MERMAID,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print which stages of a run used which assets, as a Mermaid flowchart or as JSON.

    Example: `evalvault-otel assets graph nightly-42 > nightly-42.mmd`
    """
    found = asset_graph(reading_store(db), run_id)
    if as_json or form is Format.JSON:
        print_json(found)
    else:
        typer.echo(to_mermaid(found), nl=False)


def _say_versions(found: AssetLedger) -> None:
    columns = (
        *("#", "VERSION", "DIGESTS", "USES", "RUNS", "FIRST USE", "LAST USE", "STAGES", "P50", "P95", "ERRORS"),
        *("LOADS", "LOAD P50", "CACHE HITS", "CACHING WOULD SAVE"),
    )
    texts = ("VERSION", "FIRST USE", "LAST USE", "STAGES")
    print_table(
        columns, map(_version_line, found.versions), numbers=[column for column in columns if column not in texts]
    )
    if found.versions_total > len(found.versions):
        typer.echo(f"… {found.versions_total - len(found.versions)} earlier versions")


def _version_line(item: VersionEntry) -> Sequence[object]:
    loading = item.loading
    return (
        *(item.number, item.version, len(item.digests), item.uses, item.runs, item.first_used, item.last_used),
        ", ".join(f"{stages.stage_type} {stages.stages}" for stages in item.stage_types),
        *(_ms(item.p50_ms), _ms(item.p95_ms), None if item.error_rate is None else percent(item.error_rate)),
        *(loading.loads, _ms(loading.p50_ms), None if loading.hit_rate is None else percent(loading.hit_rate)),
        _ms(loading.would_save_ms) if loading.loads else None,
    )


def _say_comparison(found: VersionComparison) -> None:
    before, after = (version or "unversioned" for version in (found.before, found.after))
    typer.echo(f"\n{before} → {after}, differences with {percent(found.level)} intervals")
    lines = (
        (
            *(item.metric_name, number(item.before), number(item.after), _interval(item.low, item.high)),
            *(f"{item.count_before}, {item.count_after}", item.verdict),
        )
        for item in found.differences
    )
    print_table(("METRIC", before, after, "DIFFERENCE", "SCORES", "VERDICT"), lines, numbers=(before, after))


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:+.3g} … {high:+.3g}"


def _drift_lines(drift: AssetDrift) -> Iterator[str]:
    for edit in drift.edits:
        yield f"edited without a new version: {edit.version or 'unversioned'} has {len(edit.digests)} digests"
    for run in drift.inside_runs:
        yield f"changed inside run {run.run_id}: {_list(run.versions)}" + (", edited" if run.edits else "")
    for change in drift.between_runs:
        what = "version" if change.what == "version" else f"digest of {change.version or 'unversioned'}"
        yield f"{what} changed from run {change.run_before} to {change.run_id}: " + " → ".join(
            (_list(change.before), _list(change.after))
        )


def _list(names: Sequence[str | None]) -> str:
    return ", ".join(name or "unversioned" for name in names)


def _ms(value: float | None) -> Any:
    return None if value is None else duration(value)
