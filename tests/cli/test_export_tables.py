"""`export --format csv|parquet`: read back by the csv module and by pyarrow."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from evalvault_otel.model import Finding
from evalvault_otel.store import Store
from tests.support.stages import RUN, assembly, save, stage, tid, use

FORMULA = '=1+"1",\n'


@pytest.fixture
def filled(store: Store, db_url: str) -> str:
    stages = [
        stage(1, 1, "retrieval", stage_name=FORMULA, metrics={"hits": 2.0}, attributes={"top_k": 3}),
        stage(1, 2, "output", 10, tokens_in=5),
    ]
    save(store, assembly(stages, [use(1, 2, "model", "gpt", "4")], [Finding(tid(1), 0, RUN, "code", "info", "said")]))
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
    assert (first["stage_id"], first["stage_name"], first["metrics"]) == ("t1-s1", "'" + FORMULA, '{"hits":2.0}')
    assert (first["tokens_in"], second["tokens_in"]) == ("", "5")
    assert second["assets"] == '[{"kind":"model","name":"gpt","version":"4"}]'


def test_raw_csv_leaves_formulas(filled: str) -> None:
    lines = export(filled, "-f", "csv", "--raw").stdout.decode().splitlines()

    assert next(csv.DictReader([line + "\n" for line in lines]))["stage_name"].startswith("=1+")


def test_parquet_is_typed_and_read_back(filled: str, tmp_path: Path) -> None:
    path = tmp_path / "stages.parquet"
    assert export(filled, "-f", "parquet", "-o", str(path)).returncode == 0

    table = parquet.read_table(path)

    assert str(table.schema.field("started_ns").type) == "int64"
    assert str(table.schema.field("duration_ms").type) == "double"
    assert table.column("stage_name").to_pylist() == [FORMULA, None]
    assert table.column("attributes").to_pylist() == ['{"top_k":3}', "{}"]


@pytest.mark.parametrize(("table", "rows"), [("assets", 1), ("findings", 1), ("spans", 0)])
def test_other_tables(filled: str, tmp_path: Path, table: str, rows: int) -> None:
    path = tmp_path / f"{table}.parquet"
    assert export(filled, "-f", "parquet", "--table", table, "-o", str(path)).returncode == 0

    assert parquet.read_table(path).num_rows == rows


def test_table_needs_a_format_that_has_tables(filled: str) -> None:
    said = export(filled, "-f", "jsonl", "--table", "assets")

    assert (said.returncode, said.stdout) == (2, b"")
    assert b"--table and --raw go with --format csv or parquet" in said.stderr
