"""`keys create` and `keys list`: the file of API keys."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import NotFound, SettingsError
from ..settings import load
from .options import AsJson, setting
from .output import print_json, print_table

app = typer.Typer(name="keys", help="API keys of the server.", no_args_is_help=True)

File = Annotated[str | None, setting("api_keys_file", "file")]


@app.command("create")
def create(
    name: Annotated[str, typer.Option(help="Who uses the key, for example `ci`. It names the line in the file.")],
    scope: Annotated[list[str], typer.Option(help="What the key may do: `ingest`, `read` or `admin`; repeatable.")],
    file: File = None,
) -> None:
    """Make a key, print it once, and append its hash to the file. A running server takes it within a second or two.

    Example: `evalvault-otel keys create --name ci --scope ingest --file keys.txt`
    """
    from ..server.key_file import add_key, scopes_of

    try:
        scopes = scopes_of("+".join(scope))
    except ValueError as exc:
        raise SettingsError(f"--scope: {exc}: use ingest, read or admin") from exc
    path = _path(file)
    typer.echo(add_key(path, name, scopes))
    sys.stderr.write(f"the key above is shown this once; its hash is in {path}\n")


@app.command("list")
def list_keys(file: File = None, as_json: AsJson = False) -> None:
    """List names and scopes of the keys in the file. The keys themselves are not there.

    Example: `evalvault-otel keys list --file keys.txt`
    """
    from ..server.key_file import read_key_file

    path = _path(file)
    entries = read_key_file(path).entries
    if not entries:
        raise NotFound(f"{path} holds no key: use `evalvault-otel keys create`")
    if as_json:
        print_json([{"name": entry.name, "scopes": entry.scopes_text.split("+")} for entry in entries])
        return
    print_table(("NAME", "SCOPES"), ((entry.name, entry.scopes_text) for entry in entries))


def _path(file: str | None) -> Path:
    path = load({"api_keys_file": file}).api_keys_file
    if not path:
        raise SettingsError("which file? Give --file, or set EVALVAULT_API_KEYS_FILE")
    return Path(path)
