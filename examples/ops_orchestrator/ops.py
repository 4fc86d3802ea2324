"""Asks 20 questions about stored traces, in five stages with versioned assets, and checks what the server kept of it.

    python examples/ops_orchestrator/ops.py

Without more it starts a server on a file of its own and fills it with the traces of the quickstart application. With
`--endpoint`, `--api`, `--db` and `--about` it asks about a run of a server that is there.

Exit codes: 0 all checks hold, 1 some do not, 2 wrong use.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import live
from checks import Verdict, checked
from orchestrator import Orchestrator, Question
from registry import Registry
from rich.console import Console
from rich.table import Table

import evalvault_otel as ev

HERE = Path(__file__).resolve().parent


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, check, print; the exit code."""
    args = _arguments(argv)
    now = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    try:
        with _place(args) as place:
            about = args.about or f"quickstart-{now}"
            if not args.about:
                live.fill(place.endpoint, about)
            live.check_run(place.api, about)
            registry = Registry(args.assets)
            verdicts = ask_all(place, about, f"ops-{now}", registry)
    except live.NotReady as exc:
        print(f"ops_orchestrator: {exc}", file=sys.stderr)
        return 1
    if args.log:
        args.log.write_text("".join(f"{json.dumps(asdict(load))}\n" for load in registry.loads), encoding="utf-8")
    show(verdicts)
    failed = sum(bool(verdict.wrong) for verdict in verdicts)
    print(f"run ops-{now} about {about}: {len(verdicts) - failed} of {len(verdicts)} questions pass every check")
    return int(failed > 0 or not verdicts)


def ask_all(place: live.Place, about: str, run_id: str, registry: Registry) -> list[Verdict]:
    """Answer all questions about a run, send their traces, and check what was stored of them."""
    handle = ev.instrument(endpoint=place.endpoint, service_name="ops-orchestrator")
    try:
        orchestrator = Orchestrator(registry, place.db, about)
        with ev.run(run_id, kind="test", dataset="ops-20", dataset_version="1"):
            answers = [orchestrator.answer(question) for question in questions(HERE / "questions.txt")]
    finally:
        handle.shutdown()
    return [
        checked(place.api, answer, [load for load in registry.loads if load.question == answer.question.id])
        for answer in answers
    ]


def questions(path: Path) -> list[Question]:
    """The questions of a file: `id | category | route | text`."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#"))
    return [Question(*(part.strip() for part in line.split("|", 3))) for line in lines]


def show(verdicts: Sequence[Verdict]) -> None:
    """A table, a question a row."""
    table = Table(show_lines=True)
    columns = ("#", "CATEGORY", "QUESTION AND ANSWER", "ROUTE", "STAGES", "ASSETS PER STAGE", "MS", "TRACE", "VERDICT")
    for column in columns:
        table.add_column(column, overflow="fold")
    for verdict in verdicts:
        answer = verdict.answer
        table.add_row(
            answer.question.id,
            answer.question.category,
            f"{answer.question.text}\n{answer.text}",
            answer.route.upper(),
            "\n".join(verdict.stages),
            "\n".join(verdict.assets),
            f"{1000 * answer.seconds:.0f}",
            answer.trace_id,
            "; ".join(verdict.wrong) or "pass",
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@contextmanager
def _place(args: argparse.Namespace) -> Iterator[live.Place]:
    if args.endpoint:
        yield live.Place(args.endpoint, args.api, args.db)
        return
    with tempfile.TemporaryDirectory() as folder:
        db = args.db or str(Path(folder) / "ops.db")
        with live.server(db, Path(folder) / "server.log") as place:
            yield place


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ops_orchestrator", description="20 questions about stored traces.")
    parser.add_argument("--endpoint", metavar="URL", help="OTLP/HTTP of a running server (default: start one)")
    parser.add_argument("--api", metavar="URL", help="query API of that server")
    parser.add_argument("--db", metavar="DB", help="its database, as its own --db is (default: a file for this time)")
    parser.add_argument("--about", metavar="RUN", help="the run to ask about (default: a new one of the quickstart)")
    parser.add_argument("--assets", type=Path, default=HERE / "assets", metavar="DIR", help="where the assets are")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="write what the registry itself saw loaded, as JSON lines"
    )
    args = parser.parse_args(argv)
    if args.endpoint and not (args.api and args.db):
        parser.error("--endpoint needs --api and --db of the same server")
    return args


if __name__ == "__main__":
    sys.exit(main())
