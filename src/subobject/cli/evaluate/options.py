"""Options that several evaluations share."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="BSDS500: a folder with images, labels and boundaries.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="Only the first N images.")]


class Split(StrEnum):
    """Parts of BSDS500."""

    train = "train"
    val = "val"
    test = "test"


@dataclass(frozen=True)
class MeasureOptions:
    """How scores of segmentations and boundary maps are counted, kept and drawn."""

    limit: Limit = None
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Processes; one a core by default.")] = None
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keep what was counted here; a second run does not count it again."),
    ] = None
    plot: Annotated[Path | None, typer.Option("--plot", metavar="DIR", help="Also draw the scores, as SVG and PNG.")] = None
