"""All commands, put together. One module per group; each command is a few lines over the library."""

from typing import Annotated

import typer

from .. import __version__
from . import assets, compare, db, debug, demo, doctor, keys, look, move, rejects, remap, rules, serve, stage

app = typer.Typer(
    name="evalvault-otel",
    help="OpenTelemetry traces of RAG applications in, stages, assets and debug reports out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
app.command("serve", rich_help_panel="Run")(serve.serve)
app.command("demo", rich_help_panel="Run")(demo.demo)
app.add_typer(keys.app, rich_help_panel="Run")
app.command("import", rich_help_panel="Move")(move.import_)
app.command("export", rich_help_panel="Move")(move.export)
app.command("runs", rich_help_panel="Look")(look.runs)
app.command("trace", rich_help_panel="Look")(look.trace)
app.add_typer(debug.app, rich_help_panel="Look")
app.add_typer(stage.app, rich_help_panel="Look")
app.add_typer(assets.app, rich_help_panel="Look")
app.add_typer(rejects.app, rich_help_panel="Look")
app.command("compare", rich_help_panel="Look")(compare.compare)
app.command("doctor", rich_help_panel="Look after")(doctor.doctor)
app.command("remap", rich_help_panel="Look after")(remap.remap)
app.add_typer(rules.app, rich_help_panel="Look after")
app.add_typer(db.app, rich_help_panel="Look after")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"evalvault-otel {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options for every command."""
