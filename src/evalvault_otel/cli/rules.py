"""`rules`: check a file of rules, see what they would change, and print one to begin with."""

import re
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..analysis.figures import count
from ..errors import InvalidInput, NotFound
from ..settings import load
from .options import AsJson, Db, reading_store
from .output import print_json, print_table

if TYPE_CHECKING:
    from ..analysis.rules_effect import Outcome, SpanEffect
    from ..model import LogEvent, Span

app = typer.Typer(name="rules", help="Rules that say what names of your own mean.", no_args_is_help=True)

File = Annotated[str, typer.Argument(help="YAML file of rules.")]
_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")
_WRONG = 2


@app.command("check")
def check(file: File, as_json: AsJson = False) -> None:
    """Look whether a file of rules can be used, and print what is wrong with it, line by line.

    Exits with 2 when something is wrong.

    Example: `evalvault-otel rules check rules.yaml`
    """
    from ..conventions.reading import DIALECTS, Conventions
    from ..conventions.rules_file import notes, parse, read

    rules, problems = parse(read(file))
    if as_json:
        version = None if problems else Conventions(DIALECTS, rules).version
        said = {"rules": [rule.name for rule in rules.rules], "mapping_version": version}
        print_json({**said, "problems": problems, "notes": [] if problems else notes(rules)})
    elif not problems:
        typer.echo(f"{file}: {count(len(rules.rules), 'rule')}, mapping {Conventions(DIALECTS, rules).version}")
        for note in notes(rules):
            typer.echo(f"note: {note}")
    else:
        sys.stderr.writelines(f"{file}:{problem.line}: {problem.sentence}\n" for problem in problems)
    if problems:
        raise typer.Exit(_WRONG)


@app.command("test")
def try_on(  # named so that no test runner takes it for a test
    file: File,
    trace: Annotated[str, typer.Argument(help="A trace id of --db, or a file of OTLP/JSON: whole or line by line.")],
    db: Db = None,
    every: Annotated[bool, typer.Option("--all", help="Show spans that do not change as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what rules would change: each span of a trace without them and with them. Nothing is stored.

    Exits with 1 when nothing changes.

    Example: `evalvault-otel rules test rules.yaml 4bf92f3577b34da6a3ce929d0e0e4736`
    """
    from ..analysis.rules_effect import effects
    from ..conventions.reading import DEFAULT
    from ..conventions.rules_file import conventions_of

    after = conventions_of(file)
    found = effects(*_read_trace(trace, db), DEFAULT, after)
    changed = [effect for effect in found if effect.changed]
    shown = found if every else changed
    if as_json:
        said = {"mapping_version": after.version, "changed": len(changed), "of": len(found)}
        print_json({**said, "spans": list(map(_flat, shown))})
    elif shown:
        print_table(("SPAN", "BEFORE", "AFTER", "NAME", "FIELDS", "WHY"), map(_line, shown))
    if not changed:
        raise NotFound(
            f"nothing changes in {count(len(found), 'span')}: no rule applies, or the spans say it themselves already"
        )
    if not as_json:
        typer.echo(f"{len(changed)} of {count(len(found), 'span')} changed; mapping {after.version}")


def _flat(effect: "SpanEffect") -> dict[str, Any]:
    names = ("trace_id", "span_id", "name", "changed", "before", "after", "changed_fields")
    return {name: getattr(effect, name) for name in names}


@app.command("example")
def example() -> None:
    """Print a file of rules to begin with, with comments.

    Example: `evalvault-otel rules example > rules.yaml`
    """
    typer.echo(files("evalvault_otel.conventions").joinpath("rules_example.yaml").read_text(encoding="utf-8"), nl=False)


def _line(effect: "SpanEffect") -> Sequence[object]:
    before, after = effect.before, effect.after
    names = [name for name in dict.fromkeys((before.stage_name, after.stage_name)) if name]
    return (
        "  " * effect.depth + effect.name,
        _kind(before),
        _kind(after),
        " -> ".join(names) or None,
        " ".join(effect.changed_fields) or None,
        after.why or None,
    )


def _kind(outcome: "Outcome") -> str:
    if outcome.part_of is not None:
        return f"part of {outcome.part_of}"
    return outcome.stage_type or "structural"


def _read_trace(trace: str, db: str | None) -> "tuple[list[Span], list[LogEvent]]":
    """Spans and log events of a trace of the database, or of a file."""
    if Path(trace).is_file():
        return _read_file(Path(trace))
    if not _TRACE_ID.fullmatch(trace.strip()):
        raise InvalidInput(f"{trace!r} is neither a file nor a trace id of 32 hex digits")
    store = reading_store(db)
    trace_id = store.trace(trace.strip().lower()).trace_id
    return store.spans(trace_id), store.logs(trace_id)


def _read_file(path: Path) -> "tuple[list[Span], list[LogEvent]]":
    """What a file of OTLP/JSON holds, in any form that `import` takes."""
    from ..errors import Undecodable
    from ..wire.otlp_files import decode, documents

    spans: list[Span] = []
    logs: list[LogEvent] = []
    with path.open("rb") as file:
        for document in documents(file, load().max_request_bytes):
            try:
                decoded = decode(document.data)
            except Undecodable as exc:
                raise InvalidInput(f"{path}:{document.number}: {document.problem or exc}") from exc
            spans += decoded.spans
            logs += decoded.logs
    if not spans:
        raise InvalidInput(f"{path}: there are no spans in it")
    return spans, logs
