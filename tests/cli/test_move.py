"""`import` and `export` as processes: what they print, how they end, and that a file is whole or not there."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from benchmarks.traces import Generator
from evalvault_otel.store import Store, open_store
from evalvault_otel.wire import protobuf
from evalvault_otel.wire.otlp_json_encode import encode
from tests.support.server import Server
from tests.support.traces import RUN_ID, batches, new_trace_id, span, stage

NOW = 1_700_000_000_000_000_000
DEAD = "postgresql://nobody:secret@127.0.0.1:1/nothing"
Said = subprocess.CompletedProcess[bytes]


def evalvault(*arguments: object, stdin: bytes = b"") -> Said:
    command = [sys.executable, "-m", "evalvault_otel", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, input=stdin, timeout=120, check=False)


def shown(*arguments: object, stdin: bytes = b"") -> Any:
    return orjson.loads(evalvault(*arguments, "--json", stdin=stdin).stdout)


def lines(count: int) -> bytes:
    """Traces of one span, a line each."""
    made = (stage(1, 0, "input", {RUN_ID: "r"}, trace_id=new_trace_id()) for _ in range(count))
    return b"".join(encode([one]) + b"\n" for one in made)


def test_import_says_what_became_of_it(db_url: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl.gz"
    one.write_bytes(lines(2))
    two.write_bytes(gzip.compress(lines(3)))

    said = evalvault("import", one, two, "--db", db_url)

    assert (said.returncode, said.stderr) == (0, b"")
    assert said.stdout.startswith(b"5 lines of 2 files in ")
    assert said.stdout.endswith(b" s: 5 spans and 0 log events stored in 5 traces\n")
    again = shown("import", one, two, "--db", db_url)
    del again["seconds"]
    assert again == {
        "files": 2,
        "lines": 5,
        "spans": 0,
        "duplicates": 5,
        "conflicts": 0,
        "logs": 0,
        "others": 0,
        "rejected": 0,
        "traces": 0,
        "failed": [],
        "refused": [],
    }


def test_import_names_the_lines_that_it_refuses_and_exits_with_1(db_url: str) -> None:
    said = evalvault("import", "-", "--db", db_url, stdin=b"nonsense\n" + lines(2) + b"{}\n[]\n")

    assert said.returncode == 1
    first, second = said.stderr.decode().splitlines()
    assert first.startswith("-:1: not JSON")
    assert second.startswith("-:5: the body must be a JSON object")
    assert b"2 spans and 0 log events stored in 2 traces, 2 rejected" in said.stdout
    assert [item["peer"] for item in shown("rejects", "--db", db_url)] == ["-:5", "-:1"]


def test_import_stops_at_the_first_refusal_when_strict(db_url: str) -> None:
    said = evalvault("import", "-", "--strict", "--db", db_url, stdin=lines(1) + b"nonsense\n" + lines(1))

    assert said.returncode == 1
    assert b"1 span and 0 log events stored in 1 trace, 1 rejected" in said.stdout


def test_import_of_other_signals_can_be_chosen_to_be_no_fault(db_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = b'{"resourceMetrics": []}\n'
    assert evalvault("import", "-", "--db", db_url, stdin=metrics).returncode == 1
    monkeypatch.setenv("EVALVAULT_OTHER_SIGNALS", "discard")

    assert shown("import", "-", "--db", db_url, stdin=metrics)["others"] == 1


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (("import", "nowhere.jsonl"), 2, "there is no file nowhere.jsonl"),
        (("import", "-", "--rules", "nowhere.yaml"), 2, "nowhere.yaml"),
        (("import", "-", "--db", DEAD), 3, "PostgreSQL"),
        (("export", "r"), 3, "there is no database"),
        (("export",), 2, "say which traces"),
        (("export", "r", "--all"), 2, "say which traces"),
        (("export", "r", "--format", "xml"), 2, "'otlp', 'jsonl'"),
        (("remap",), 2, "say which traces"),
        (("remap", "--all"), 3, "there is no database"),
        (("remap", "--all", "--rules", "nowhere.yaml"), 2, "nowhere.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_use_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)

    said = evalvault(*arguments)

    assert (said.returncode, said.stdout) == (code, b"")
    assert message in said.stderr.decode()
    assert b"Traceback" not in said.stderr
    assert b"secret" not in said.stderr


def test_what_export_wrote_import_takes(store: Store, db_url: str, tmp_path: Path) -> None:
    trace_id = new_trace_id()
    store.write(batches(stage(1, 0, "input", {RUN_ID: "r"}, trace_id=trace_id), span(2, 1, trace_id=trace_id)), [], NOW)
    store.write(batches(stage(1, 0, "input", {RUN_ID: "other"}, trace_id=new_trace_id())), [], NOW)
    out, target = tmp_path / "r.jsonl.gz", tmp_path / "target.db"

    said = evalvault("export", "r", "-o", out, "--db", db_url)

    assert (said.returncode, said.stdout) == (0, b"")
    assert said.stderr.decode() == f"1 trace written to {out}\n"
    assert shown("import", out, "--db", target)["spans"] == 2
    opened = open_store(str(target))
    assert opened.trace_stages(trace_id) == store.trace_stages(trace_id)
    opened.close()
    plain = evalvault("export", "--trace", trace_id.upper(), "--db", db_url)
    assert plain.stdout == gzip.decompress(out.read_bytes())
    assert evalvault("export", "--since", "2023-11-14", "--db", db_url).stdout.count(b"\n") == 2
    assert evalvault("export", "--since", "1h", "--db", db_url).returncode == 1


def test_export_of_stages(store: Store, db_url: str) -> None:
    store.write(batches(stage(1, 0, "workflow", {RUN_ID: "r"}), stage(2, 1, "retrieval")), [], NOW)

    said = evalvault("export", "r", "-f", "jsonl", "--db", db_url)

    assert [orjson.loads(line)["stage_type"] for line in said.stdout.splitlines()] == ["workflow", "retrieval"]


def test_export_of_nothing_leaves_no_file_and_exits_with_1(store: Store, db_url: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    said = evalvault("export", "nothing", "-o", out, "--db", db_url)

    assert (said.returncode, out.exists()) == (1, False)
    assert b"no trace found" in said.stderr


def test_export_ends_quietly_when_nobody_reads_on(store: Store, db_url: str) -> None:
    for payload in Generator(seed=1).payloads(2):
        store.write(batches(*protobuf.decode(payload).spans), [], NOW)
    command = f"{sys.executable} -m evalvault_otel export --all --db '{db_url}' | head -c 10"

    said = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=False)  # noqa: S607 - from PATH

    assert (said.stdout, said.stderr) == (b'{"resource', b"")


def test_import_beside_a_server(db_url: str, serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(db_url)
    for payload in Generator(seed=2).payloads(4):
        answer = requests.post(
            f"http://{server.http}/v1/traces", payload, headers={"Content-Type": "application/x-protobuf"}, timeout=20
        )
        assert answer.status_code == 200

    assert shown("import", "-", "--db", db_url, stdin=lines(50))["spans"] == 50
    assert requests.get(server.url("/api/runs/r"), timeout=10).json()["traces"] == 50


def test_a_file_that_is_another_than_was_meant_is_left_early(db_url: str, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_bytes(b'{"level": "info"}\n' * 1000)

    said = evalvault("import", other, "--db", db_url)

    assert said.returncode == 1
    assert b"other.jsonl:1: JSON, but no OTLP" in said.stderr
    assert b"10 lines and no OTLP/JSON: the rest is not read" in said.stderr
    assert b"10 lines of 1 file" in said.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_export_writes_into_a_pipe_and_through_a_link(db_url: str, tmp_path: Path) -> None:
    evalvault("import", "-", "--db", db_url, stdin=lines(2))
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file.jsonl"
    os.mkfifo(pipe)
    file.write_text("old")
    file.chmod(0o600)
    link.symlink_to(file)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdout.write(open(sys.argv[1]).read())", pipe], stdout=subprocess.PIPE
    ) as reader:
        evalvault("export", "--all", "-o", pipe, "--db", db_url)
        piped, _ = reader.communicate(timeout=60)
    evalvault("export", "--all", "-o", link, "--db", db_url)

    assert piped.count(b"\n") == 2
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (piped, 0o600)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".part")) == []


def test_export_says_what_is_wrong_with_its_target(db_url: str, tmp_path: Path) -> None:
    evalvault("import", "-", "--db", db_url, stdin=lines(1))

    folder = evalvault("export", "--all", "-o", tmp_path, "--db", db_url)
    nowhere = evalvault("export", "--all", "-o", tmp_path / "a" / "b", "--db", db_url)

    assert (folder.returncode, nowhere.returncode) == (2, 2)
    assert b"is a folder: give --output the name of a file" in folder.stderr
    assert b"which is no folder: give --output the name of a file" in nowhere.stderr
