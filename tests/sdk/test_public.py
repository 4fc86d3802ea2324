"""`import evalvault_otel` costs next to nothing, and its names are those of the type checker."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import evalvault_otel

_HEAVY = (
    "grpc",
    "fastapi",
    "psycopg",
    "pydantic",
    "sqlite3",
    "google.protobuf",
    "orjson",
    "asyncio",
    "requests",
    "typer",
)


def _in_a_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout


def test_the_import_takes_no_server_along() -> None:
    code = f"import evalvault_otel, sys, json; print(json.dumps([m for m in {_HEAVY} if m in sys.modules]))"

    assert json.loads(_in_a_fresh_process(code)) == []


def test_recording_takes_no_server_along() -> None:
    code = (
        "import evalvault_otel as ev, sys, json\n"
        "with ev.run('r'), ev.stage('retrieval') as s:\n"
        "    ev.asset('prompt', 'p'); s.record(query='q')\n"
        f"print(json.dumps([m for m in {_HEAVY} if m in sys.modules and m != 'asyncio']))"
    )

    assert json.loads(_in_a_fresh_process(code)) == []


def test_the_import_is_quick() -> None:
    code = "import time; t = time.perf_counter(); import evalvault_otel; print(time.perf_counter() - t)"

    assert min(float(_in_a_fresh_process(code)) for _ in range(5)) < 0.15


def test_every_name_is_there_and_the_type_checker_sees_the_same() -> None:
    tree = ast.parse(Path(evalvault_otel.__file__).read_text())
    checked = {
        alias.name
        for block in tree.body
        if isinstance(block, ast.If)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }

    assert checked | {"__version__"} == set(evalvault_otel.__all__)
    assert all(getattr(evalvault_otel, name) is not None for name in evalvault_otel.__all__)
    assert set(evalvault_otel.__all__) <= set(dir(evalvault_otel))


def test_another_name_is_an_attribute_error() -> None:
    assert not hasattr(evalvault_otel, "no_such_name")
