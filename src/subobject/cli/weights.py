"""``subobject weights``: which weights ship, and their model cards."""

from typing import Annotated

import typer

from subobject.cli.common import Json, emit, usage_errors

app = typer.Typer(no_args_is_help=True, help="Show the weights that ship with the package.")


@app.command("list")
def list_weights(as_json: Json = False) -> None:
    """List the releases that are installed, a line each: what they serve, what they are, and their licence."""
    from subobject.weights import RELEASES

    for release in RELEASES.values():
        if release.installed:
            values = {"name": release.name, "kind": release.kind, "summary": release.summary, "licence": release.licence}
            emit(values, f"{release.name} ({release.kind}): {release.summary} ({release.licence})", as_json)


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of a release.")], as_json: Json = False) -> None:
    """Print the model card of a release, and check its files."""
    with usage_errors():
        from subobject.registry import lookup
        from subobject.weights import RELEASES, resolve

        folder = resolve(name, lookup(RELEASES, name, "release").kind)
    card = (folder / "README.md").read_text()
    emit({"name": name, "folder": str(folder), "card": card}, card, as_json)
