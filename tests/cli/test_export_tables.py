"""`export --format csv|parquet`: read back by the csv module and by pyarrow."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from evalvault_otel.model import SpanEvent
from evalvault_otel.wire.otlp_json_encode import encode
from tests.support.traces import RUN_ID, at, sid, stage

RUN = "r"
FORMULA = '=1+"1",\n'


@pytest.fixture
def filled(db_url: str, tmp_path: Path) -> str:
    return fill(db_url, tmp_path)


def fill(db_url: str, tmp_path: Path) -> str:
    """Two stages, one with a name that is a formula, one that uses an asset."""
    asset = {"evalvault.asset.kind": "model", "evalvault.asset.name": "gpt", "evalvault.asset.version": "4"}
    used = (SpanEvent(at(11), "evalvault.asset", asset),)
    spans = [
        stage(1, 0, "input", {RUN_ID: RUN, "evalvault.stage.name": FORMULA, "quality_score": 0.5}),
        stage(
            2,
            1,
            "output",
            {"gen_ai.usage.input_tokens": 5},
            start=10,
            events=used,
        ),
    ]
    path = tmp_path / "spans.jsonl"
    path.write_bytes(encode(spans) + b"\n")
    command = [sys.executable, "-m", "evalvault_otel", "import", str(path), "--db", db_url]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    return db_url


def export(db: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "evalvault_otel", "export", RUN, "--db", db, *arguments]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


def test_csv_is_read_back(filled: str, tmp_path: Path) -> None:
    path = tmp_path / "stages.csv"
    assert export(filled, "-f", "csv", "-o", str(path)).returncode == 0

    with path.open(newline="") as file:
        first, second = csv.DictReader(file)

    assert path.read_bytes().endswith(b"\r\n")
    assert (first["span_id"], first["stage_name"]) == (sid(1), "'" + FORMULA)
    assert (first["tokens_in"], second["tokens_in"]) == ("", "5")
    assert '"name":"gpt"' in second["assets"]


def test_both_databases_give_the_same_bytes(postgres_url: str, tmp_path: Path) -> None:
    databases = (postgres_url, f"sqlite:///{tmp_path}/same.db")
    first, second = (export(fill(url, tmp_path), "-f", "csv").stdout for url in databases)

    assert first.count(b"\r\n") == 3
    assert first == second


def test_raw_csv_leaves_formulas(filled: str) -> None:
    lines = export(filled, "-f", "csv", "--raw").stdout.decode().splitlines()

    assert next(csv.DictReader([line + "\n" for line in lines]))["stage_name"].startswith("=1+")


def test_parquet_is_typed_and_read_back(filled: str, tmp_path: Path) -> None:
    path = tmp_path / "stages.parquet"
    assert export(filled, "-f", "parquet", "-o", str(path)).returncode == 0

    table = parquet.read_table(path)
    first = next(csv.DictReader(io.StringIO(export(filled, "-f", "csv").stdout.decode(), newline="")))

    assert str(table.schema.field("started_ns").type) == "timestamp[ns, tz=UTC]"
    assert str(table.schema.field("duration_ms").type) == "double"
    assert str(table.schema.field("metrics").type).startswith("map<string, double")
    assert table.column("started_ns").cast("int64").to_pylist() == [at(0), at(10)]
    assert dict(table.column("metrics").to_pylist()[0]) == json.loads(first["metrics"]) == {"input.quality_score": 0.5}
    assert table.column("stage_name").to_pylist()[0] == FORMULA
    assert table.column("span_id").to_pylist() == [sid(1), sid(2)]


@pytest.mark.parametrize("table,rows", [("assets", 1), ("spans", 2)])
def test_other_tables(filled: str, tmp_path: Path, table: str, rows: int) -> None:
    path = tmp_path / f"{table}.parquet"
    assert export(filled, "-f", "parquet", "--table", table, "-o", str(path)).returncode == 0

    assert parquet.read_table(path).num_rows == rows


def test_parquet_without_pyarrow_says_what_to_install(filled: str, tmp_path: Path) -> None:
    """An interpreter that finds no pyarrow, as after an installation without the extra."""
    program = "import sys; sys.modules['pyarrow'] = None; from evalvault_otel.cli import main; main()"
    command = [sys.executable, "-c", program, "export", RUN, "--db", filled, "-f", "parquet", "-o", str(tmp_path / "x")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert said.returncode == 2
    assert said.stderr.strip().endswith("Parquet needs pyarrow: pip install 'evalvault-otel[parquet]'")
    assert list(tmp_path.glob("*x*")) == []


def test_table_needs_a_format_that_has_tables(filled: str) -> None:
    said = export(filled, "-f", "jsonl", "--table", "assets")

    assert (said.returncode, said.stdout) == (2, b"")
    assert b"--table and --raw go with --format csv or parquet" in said.stderr
