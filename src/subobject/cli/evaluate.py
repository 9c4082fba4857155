"""``subobject evaluate``: scores on annotated images."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from subobject.cli.common import (
    BoundaryWeights,
    Device,
    DeviceOption,
    Json,
    Runtime,
    RuntimeOption,
    emit,
    progress,
    usage_errors,
)

app = typer.Typer(no_args_is_help=True, help="Score boundary maps and segmentations on BSDS500.")

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="BSDS500: a folder with images, labels and boundaries.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="Only the first N images.")]


class Split(StrEnum):
    """Parts of BSDS500."""

    train = "train"
    val = "val"
    test = "test"


@app.command()
def boundaries(
    data: Data,
    split: Annotated[Split, typer.Option("--split", help="Part of the data set.")] = Split.test,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="DIR", help="Judge maps ID.png of 8 or 16 bits, instead of a model.")
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Boundary model to judge.")] = "directsam",
    boundary_weights: BoundaryWeights = None,
    nms: Annotated[
        bool | None,
        typer.Option("--nms/--no-nms", help="Suppress non-maxima of soft maps; by default for models, not for --predictions."),
    ] = None,
    thresholds: Annotated[int, typer.Option("--thresholds", metavar="N", help="Number of thresholds; 99 is official.")] = 99,
    limit: Limit = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Processes; one a core by default.")] = None,
    runtime: RuntimeOption = Runtime.auto,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
) -> None:
    """Score boundary maps as the Berkeley benchmark does: ODS, OIS, AP, R50, and the covering of the regions they enclose.

    Examples:

        subobject evaluate boundaries --data BSDS500_FOLDER --model gradient --limit 20

        subobject evaluate boundaries --data BSDS500_FOLDER --predictions maps --json
    """
    with usage_errors():
        from subobject.boundaries import load
        from subobject.data.bsds500 import read_split
        from subobject.metrics import run

        images = run.limited(read_split(data, split.value), limit)
        levels = run.even_thresholds(thresholds)
        with progress(len(images), "boundaries") as advance:
            if predictions is not None:
                paths = run.find_predictions(predictions, images)
                scores = run.evaluate_predictions(
                    images, paths, thresholds=levels, suppress=bool(nms), workers=workers, advance=advance
                )
            else:
                predict = load(model, weights=boundary_weights, runtime=runtime, device=device)
                scores = run.evaluate_model(
                    images, predict, thresholds=levels, suppress=nms is not False, workers=workers, advance=advance
                )
    emit(scores, "\n".join(f"{key:14s}{value:.6g}" for key, value in scores.items()), as_json)


@app.command()
def segments(
    data: Data,
    split: Annotated[Split, typer.Option("--split", help="Part of the data set.")] = Split.val,
    segmenter: Annotated[
        list[str] | None, typer.Option("--segmenter", metavar="NAME", help="How images are cut; may be repeated.")
    ] = None,
    budget: Annotated[
        list[int] | None, typer.Option("--budget", metavar="K", help="Largest number of segments an image; may be repeated.")
    ] = None,
    boundary_weights: BoundaryWeights = None,
    limit: Limit = None,
    runtime: RuntimeOption = Runtime.auto,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
) -> None:
    """Score segmenters (directsam if none is named) at one or more budgets (64 if none is given), means over images.

    Example:

        subobject evaluate segments --data BSDS500_FOLDER --segmenter gradient --segmenter slic --budget 32 --budget 64
    """
    with usage_errors():
        from subobject.data.bsds500 import read_split
        from subobject.metrics import run
        from subobject.segments.pipeline import DEFAULT, ImageSegmenter

        images = run.limited(read_split(data, split.value), limit)
        budgets = budget or [64]
        names = segmenter or [DEFAULT]
        cutters = [ImageSegmenter.load(name, weights=boundary_weights, runtime=runtime, device=device) for name in names]
        for name, cutter in zip(names, cutters, strict=True):
            with progress(len(images), name) as advance:
                rows = run.evaluate_segmenter(images, cutter.method, cutter.boundary_model, budgets, advance=advance)
            for row in rows:
                line = {"segmenter": name, **row}
                emit(line, "  ".join(f"{key} {value}" for key, value in line.items()), as_json)
