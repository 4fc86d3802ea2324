"""Options that many commands share, described where the settings are."""

from collections.abc import Callable
from dataclasses import Field, fields
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from ..settings import Settings, load
from ..store import Store, open_store

_SPECS = {spec.name: spec for spec in fields(Settings)}


# A secret has no place in a command line: `ps` shows it to every user of the machine.
SECRET_SETTINGS = frozenset(spec.name for spec in fields(Settings) if not spec.repr)


def setting(name: str, option: str = "") -> Any:
    """The command-line option of a setting: `--name`, or `--option`, with its meaning, variable and default."""
    spec = _SPECS[name]
    text = f"{spec.metadata['doc']}  [env: {spec.metadata['env']}; default: {_shown(spec.default)}]"
    flag = "--" + (option or name.replace("_", "-"))
    return typer.Option(flag, help=text, show_default=False)


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default) or "none"


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `**options` an option for every setting, except secrets."""
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[_kind(spec), setting(name)])
        for name, spec in _SPECS.items()
        if name not in SECRET_SETTINGS
    ]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what `inspect.signature` looks for
    return command


def _kind(spec: Field[Any]) -> Any:
    return type(spec.default) | None


Db = Annotated[str | None, setting("db")]
# What decides how spans become stages.
Rules = Annotated[str | None, setting("rules")]
RunFromSession = Annotated[bool | None, setting("run_from_session")]
RunFallback = Annotated[str | None, setting("run_fallback")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many rows at most.")]


def mapping_settings(
    db: str | None, rules: str | None, run_from_session: bool | None, run_fallback: str | None
) -> Settings:
    """The settings with what a command line says about the database and how spans become stages.

    Raises:
        SettingsError: one of them cannot be used.
    """
    return load({"db": db, "rules": rules, "run_from_session": run_from_session, "run_fallback": run_fallback})


def reading_store(db: str | None) -> Store:
    """The store of `--db`, checked to be there: a command that looks never creates a database.

    Raises:
        Unavailable, SettingsError: there is none, with what to do about it.
    """
    store = open_store(load({"db": db}).db)
    store.ping()
    return store
