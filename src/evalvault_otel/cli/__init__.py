"""The command line. Errors are one line that names the remedy; exit codes tell scripts what happened.

0 fine, 1 nothing found, 2 wrong use or bad input, 3 storage cannot be reached.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial

from ..errors import EvalVaultError, InvalidInput, MissingExtra, NotFound, SettingsError, Unavailable

__all__ = ["main"]

_EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 1),
    (Unavailable, 3),
    (InvalidInput, 2),
    (SettingsError, 2),
    (MissingExtra, 2),
    (OSError, 2),
    (EvalVaultError, 2),
)


def main() -> None:
    """Run the command of `sys.argv`. `--debug`, anywhere, shows the traceback of an error."""
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        _command()(arguments)
    except (EvalVaultError, OSError) as exc:
        if debug:
            raise
        sys.stdout.flush()
        sys.stderr.write(f"error: {exc}\n")
        sys.exit(next(code for kind, code in _EXIT_CODES if isinstance(exc, kind)))


def _command() -> Callable[[Sequence[str]], object]:
    """The command line, if the packages it needs are there.

    Raises:
        MissingExtra: one is not.
    """
    try:
        from .commands import app
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        raise MissingExtra(
            f"the command line needs {missing or 'more packages'}: pip install 'evalvault-otel[server]'"
        ) from exc
    return partial(app, prog_name="evalvault-otel")
