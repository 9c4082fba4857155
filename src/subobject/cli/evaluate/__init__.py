"""``subobject evaluate``: one file a command."""

import typer

from subobject.cli.evaluate.boundaries import boundaries
from subobject.cli.evaluate.captions import captions
from subobject.cli.evaluate.reconstruction import reconstruction
from subobject.cli.evaluate.segments import segments

app = typer.Typer(no_args_is_help=True, help="Score boundary maps, segmentations and what is made of them.")
app.command()(boundaries)
app.command()(segments)
app.command()(reconstruction)
app.command()(captions)
