"""`make registry`: check the names, then write what is made from them. `--check` only says what is out of date."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .lint import lint
from .render import names_module, page, schema
from .source import ROOT, Registry, load

MADE: dict[Path, Callable[[Registry], str]] = {
    ROOT / "src" / "evalvault_otel" / "conventions" / "names.py": names_module,
    ROOT / "docs" / "attributes.md": page,
    ROOT / "docs" / "evalvault-attributes.schema.json": schema,
}


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when a rule is broken, or with `--check` when a file differs from what would be written."""
    registry = load()
    if problems := lint(registry):
        print("\n".join(problems), file=sys.stderr)
        return 1
    stale = [path for path, render in MADE.items() if not path.exists() or path.read_text() != render(registry)]
    for path in stale:
        print(f"{'out of date' if '--check' in arguments else 'wrote'}: {path.relative_to(ROOT)}")
        if "--check" not in arguments:
            path.write_text(MADE[path](registry))
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
