"""`compare` as a process and over the API: formats, the gate's exit code, wrong use."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from evalvault_otel.store import open_store
from tests.analysis.test_compare import run_of
from tests.cli.test_cli import error_of, evalvault
from tests.support.server import Server
from tests.support.stages import save


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with runs `a` and `c`, which is slower and has broken cases."""
    url = f"sqlite:///{tmp_path_factory.mktemp('compare') / 'runs.db'}"
    with closing(open_store(url)) as store:
        store.migrate()
        save(store, *run_of("a", 100), *run_of("c", 300, slower=1.3, prompt="2", broken=3))
    return url


def test_a_gate_decides_the_exit_code(runs: str, tmp_path: Path) -> None:
    gate, report = tmp_path / "gate.yaml", tmp_path / "comparison.md"
    assert evalvault("compare", "a", "c", "--db", runs).returncode == 0
    gate.write_text("fail_on_worse: false\nfail_on_broken_cases: false\n")
    opened = evalvault("compare", "a", "c", "--db", runs, "--gate", str(gate))
    assert (opened.returncode, opened.stdout.splitlines()[-1]) == (0, "gate: open")
    gate.write_text("min_traces: 10\n")
    closed = evalvault("compare", "a", "c", "--db", runs, "--gate", str(gate), "-f", "markdown", "-o", str(report))
    assert closed.returncode == 1
    assert "gate: 3 test cases that worked before fail" in closed.stderr
    assert "**The gate is closed:**" in report.read_text()
    said = json.loads(evalvault("compare", "a", "c", "--db", runs, "--gate", str(gate), "--json").stdout)
    assert (said["comparison"]["verdict"], said["gate"]["open"]) == ("worse", False)


def test_wrong_use_is_2(runs: str, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("max: 1")
    gate = evalvault("compare", "a", "c", "--db", runs, "--gate", str(tmp_path / "gate.yaml"))
    assert (gate.returncode, "nobody knows 'max'" in error_of(gate)) == (2, True)
    same = evalvault("compare", "a", "a", "--db", runs)
    assert (same.returncode, "are the same" in error_of(same)) == (2, True)
    table = evalvault("compare", "a", "c", "--db", runs, "-f", "table", "-o", str(tmp_path / "t"))
    assert (table.returncode, "a table is for terminals" in error_of(table)) == (2, True)
    assert evalvault("compare", "--gate-example").stdout.startswith("# What must hold")


def test_over_the_api(runs: str, serve: Callable[..., Server]) -> None:
    server = serve(runs)

    def get(query: str) -> tuple[int, dict[str, object]]:
        try:
            with urllib.request.urlopen(server.url(f"/api/compare?{query}"), timeout=20) as answer:  # noqa: S310 - our own server
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as exc:
            return exc.code, json.load(exc)

    status, said = get("baseline=a&candidate=c")
    assert (status, said["verdict"], said["cases_broken"]) == (200, "worse", 3)
    assert get("baseline=a&candidate=nobody")[0] == 404
    assert get("baseline=a")[0] == 422
    assert get("baseline=a&candidate=a")[0] == 422
    assert get("baseline=a&candidate=c&candidate_since=2200-01-01")[0] == 422
