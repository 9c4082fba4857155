"""The ``subobject`` command."""

from typing import Annotated

import typer

from subobject import __version__
from subobject.cli import data, evaluate, weights
from subobject.cli.caption import caption
from subobject.cli.common import INTERRUPTED
from subobject.cli.decode import decode
from subobject.cli.images import segment, tokenize
from subobject.cli.train import train

app = typer.Typer(
    name="subobject",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(tokenize)
app.command()(segment)
app.command()(decode)
app.command()(caption)
app.command()(train)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Cut images into segments with a meaning, and turn each segment into one token."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        typer.echo("Error: interrupted", err=True)
        raise SystemExit(INTERRUPTED) from None
