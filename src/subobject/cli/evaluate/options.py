"""Options that several evaluations share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="BSDS500: a folder with images, labels and boundaries.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="Only the first N images.")]
Workers = Annotated[int | None, typer.Option("--workers", metavar="N", help="Processes; one a core by default.")]
Cache = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Keep what was counted here; a second run does not count it again.")
]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="DIR", help="Also draw the scores, as SVG and PNG.")]


class Split(StrEnum):
    """Parts of BSDS500."""

    train = "train"
    val = "val"
    test = "test"
