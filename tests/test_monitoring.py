"""Dashboard and alert rules: their SQL runs, their metrics exist, promtool agrees."""

import re
import subprocess
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from prometheus_client import CollectorRegistry

from evalvault_otel.ingest import IngestTelemetry
from evalvault_otel.store import open_store
from tests.support.require import require_command
from tests.support.stages import RUN, assembly, save, stage, use
from tests.support.traces import T0_NS

ROOT = Path(__file__).parents[1]
DASHBOARD: dict[str, Any] = orjson.loads((ROOT / "grafana" / "dashboards" / "evalvault.json").read_bytes())
HOUR_NS = 3_600_000_000_000
# As Grafana's PostgreSQL data source expands them.
MACROS = (
    (r"\$__unixEpochNanoFilter\((\S+)\)", rf"\1 >= {T0_NS} AND \1 <= {T0_NS + HOUR_NS}"),
    (r"\$__unixEpochNanoFrom\(\)", str(T0_NS)),
    (r"\$__unixEpochNanoTo\(\)", str(T0_NS + HOUR_NS)),
    (r"\$__timeGroup\((.*?), \$__interval\)", r"floor(extract(epoch from \1)/60)*60"),
    (r"\$\{run:sqlstring\}", f"'{RUN}'"),
)


def expanded(query: str) -> str:
    for macro, text in MACROS:
        query = re.sub(macro, text, query)
    return query


def test_every_panel_finds_something(postgres_url: str) -> None:
    from evalvault_otel.model import Finding  # noqa: PLC0415 - one use

    store = open_store(postgres_url)
    store.migrate()
    stages = [stage(1, 1, "retrieval", metrics={"retrieval.hits": 1.0}), stage(1, 2, "output", 10)]
    findings = [Finding(stages[0].trace_id, 0, RUN, "code", "warning", "said")]
    save(store, assembly(stages, [use(1, 1, "model", "m", "1")], findings))
    store.close()
    queries = [(panel["title"], target["rawSql"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
    queries += [(variable["name"], variable["query"]) for variable in DASHBOARD["templating"]["list"]]

    with psycopg.connect(postgres_url) as connection:
        found = {title: len(connection.execute(expanded(query).encode()).fetchall()) for title, query in queries}

    assert [title for title, number in found.items() if not number] == []
    assert [query for _, query in queries if "$" in expanded(query)] == []


def test_panels_are_numbered_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken
        assert grid["x"] + grid["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_alerts_use_metrics_that_we_have() -> None:
    registry = CollectorRegistry()
    IngestTelemetry(registry)
    names = {name for metric in registry.collect() for name in (metric.name, *_series(metric))}
    used = set(re.findall(r"evalvault_\w+", (ROOT / "prometheus" / "alerts.yml").read_text()))

    assert used
    assert used - names == set()


def _series(metric: Any) -> list[str]:
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum"]}
    return [metric.name + end for end in ends.get(metric.type, [])]


@pytest.mark.parametrize(
    "what", ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"]
)
def test_promtool_agrees(what: str) -> None:
    promtool = require_command("promtool")
    said = subprocess.run(
        [promtool, *what.split()], cwd=ROOT / "prometheus", capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stdout + said.stderr


def test_page_names_every_alert() -> None:
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "prometheus" / "alerts.yml").read_text())

    assert re.findall(r"^\| `(EvalVault\w+)`", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE) == alerts
