"""``subobject evaluate boundaries``."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from subobject.cli.common import BoundaryWeights, CommonOptions, emit, progress, spread, usage_errors
from subobject.cli.evaluate.options import Data, MeasureOptions, Split


@spread
def boundaries(
    data: Data,
    *,
    split: Annotated[Split, typer.Option("--split", help="Part of the data set.")] = Split.test,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="DIR", help="Judge maps ID.png of 8 or 16 bits, instead of a model.")
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Boundary model to judge.")] = "directsam",
    boundary_weights: BoundaryWeights = None,
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="NAME", help="Of directsam: whole, multiscale, pyramid or tiled.")
    ] = None,
    nms: Annotated[
        bool | None,
        typer.Option("--nms/--no-nms", help="Suppress non-maxima of soft maps; by default for models, not for --predictions."),
    ] = None,
    thresholds: Annotated[int, typer.Option("--thresholds", metavar="N", help="Number of thresholds; 99 is official.")] = 99,
    measuring: MeasureOptions,
    common: CommonOptions,
) -> None:
    """Score boundary maps as the Berkeley benchmark does: ODS, OIS, AP, R50, and the covering of the regions they enclose.

    Examples:

        subobject evaluate boundaries --data BSDS500_FOLDER --model gradient --limit 20

        subobject evaluate boundaries --data BSDS500_FOLDER --predictions maps --cache counts --plot plots --json
    """
    with usage_errors():
        from subobject.boundaries import load
        from subobject.data.bsds500 import read_split
        from subobject.metrics import plots, run
        from subobject.metrics.boundaries import precision_recall

        if measuring.plot is not None:
            plots.require_matplotlib()
        images = run.limited(read_split(data, split.value), measuring.limit)
        counting: dict[str, Any] = {
            "thresholds": run.even_thresholds(thresholds),
            "workers": measuring.workers,
            "cache": measuring.cache,
        }
        with progress(len(images), "boundaries") as advance:
            if predictions is not None:
                paths = run.find_predictions(predictions, images)
                judged = run.judge_predictions(images, paths, suppress=bool(nms), advance=advance, **counting)
            else:
                predict = load(model, weights=boundary_weights, runtime=common.runtime, device=common.device)
                if mode is not None:
                    if model != "directsam":
                        raise ValueError(f"the boundary model {model!r} has no modes: leave --mode out")
                    predict = partial(predict, mode=mode)
                judged = run.judge_model(images, predict, suppress=nms is not False, advance=advance, **counting)
        scores = run.pooled_scores(judged)
        if measuring.plot is not None:
            name = model if predictions is None else str(predictions)
            recall, precision = precision_recall([one.boundaries for one in judged])
            plots.plot_precision_recall(measuring.plot, {name: (recall, precision, scores["ods"])}, split.value)
    emit(scores, "\n".join(f"{key:14s}{value:.6g}" for key, value in scores.items()), common.as_json)
