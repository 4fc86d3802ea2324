"""Options that many commands share, described where the settings are."""

from dataclasses import fields
from typing import Annotated, Any

import typer

from ..settings import Settings, load
from ..store import Store, open_store

_SPECS = {spec.name: spec for spec in fields(Settings)}


def setting(name: str) -> Any:
    """The command-line option of a setting: `--name`, with its meaning, variable and default."""
    spec = _SPECS[name]
    text = f"{spec.metadata['doc']}  [env: {spec.metadata['env']}; default: {_shown(spec.default)}]"
    flag = "--" + name.replace("_", "-")
    return typer.Option(*([flag, "/ "] if isinstance(spec.default, bool) else [flag]), help=text, show_default=False)


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


Db = Annotated[str | None, setting("db")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many rows at most.")]


def reading_store(db: str | None) -> Store:
    """The store of `--db`, checked to be there: a command that looks never creates a database.

    Raises:
        Unavailable, SettingsError: there is none, with what to do about it.
    """
    store = open_store(load({"db": db}).db)
    store.ping()
    return store
