"""`python -m benchmarks [NAME ...]`: measure, print a table, exit 1 if a target is missed.

`--json FILE` appends each figure as a line of JSON when its benchmark is done; `--from FILE` measures nothing and shows
the latest of each figure in such a file. `--markdown` prints the table as docs/benchmarks.md holds it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from . import (
    assembly,
    encodings,
    ingest,
    kill,
    latency,
    overload,
    packages,
    queries,
    remap,
    scale,
    sdk_calls,
    startup,
    workers,
)
from .figures import Figure, machine, markdown, placed, table
from .options import Options

BENCHMARKS: dict[str, Callable[[Options], list[Figure]]] = {
    "assembly": assembly.run,
    "startup": startup.run,
    "ingest": ingest.run,
    "workers": workers.run,
    "json": encodings.run,
    "latency": latency.run,
    "queries": queries.run,
    "overload": overload.run,
    "kill": kill.run,
    "scale": scale.run,
    "remap": remap.run,
    "packages": packages.run,
    "sdk_calls": sdk_calls.run,
}


def main() -> int:
    """Run what was asked for, by default everything."""
    arguments = _arguments()
    figures = _stored(arguments.stored_in) if arguments.stored_in else _measured(arguments)
    print(markdown(figures) if arguments.markdown else f"\n{table(figures)}")
    return int(any(figure.reached is False for figure in figures))


def _measured(arguments: argparse.Namespace) -> list[Figure]:
    options = Options(**{spec.name: getattr(arguments, spec.name) for spec in fields(Options)})
    about = machine()
    _say(about)
    figures = []
    for name in arguments.names or BENCHMARKS:
        _say(f"{name} ...")
        found = [placed(figure, _command(name, options), about) for figure in BENCHMARKS[name](options)]
        figures += found
        if arguments.json:
            with arguments.json.open("a") as file:
                file.writelines(f"{json.dumps(asdict(figure))}\n" for figure in found)
    return figures


def _stored(path: Path) -> list[Figure]:
    figures = [Figure(**json.loads(line)) for line in path.read_text().splitlines()]
    return list({figure.name: figure for figure in figures}.values())


def _command(name: str, options: Options) -> str:
    """What measures the same again."""
    words = [name]
    for spec in fields(Options):
        value = getattr(options, spec.name)
        if value != spec.default:
            words.append(f"--{spec.name.replace('_', '-')}" + ("" if value is True else f" {value:g}"))
    said = " ".join(words)
    return f'make bench ARGS="{said}"' if " " in said else f"make bench ARGS={said}"


def _say(line: str) -> None:
    """Not on standard output, which is for the table."""
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="less load: shows that all works, figures are rough")
    parser.add_argument("--stored", type=int, default=usual.stored, help="spans stored before `scale` measures")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="kills per database, for `kill`")
    parser.add_argument("--workers", type=int, default=usual.workers, help="processes, for `workers`")
    parser.add_argument("--overload-s", type=float, default=usual.overload_s, help="seconds, for `overload`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also append the figures as lines of JSON")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="stored_in", help="show figures measured before")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
