"""`python -m benchmarks [NAME ...] [--quick] [--json FILE]`: measure, print a table, exit 1 if a target is missed."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from . import assembly, ingest, kill, packages, queries, startup
from .figures import Figure, machine, table

BENCHMARKS: dict[str, Callable[..., list[Figure]]] = {
    "assembly": assembly.run,
    "startup": startup.run,
    "ingest": ingest.run,
    "queries": queries.run,
    "kill": kill.run,
    "packages": packages.run,
}


def main() -> int:
    """Run what was asked for, by default everything."""
    options = _options()
    about = machine()
    print(about, flush=True)
    figures = []
    for name in options.names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        figures += BENCHMARKS[name](quick=options.quick)
    print(f"\n{table(figures)}")
    if options.json:
        report = {"machine": about, "quick": options.quick, "figures": [asdict(figure) for figure in figures]}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return int(any(figure.reached is False for figure in figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="less load: shows that all works, figures are rough")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
