"""``subobject evaluate segments``."""

from typing import Annotated, Any

import typer

from subobject.cli.common import BoundaryWeights, CommonOptions, emit, progress, spread, usage_errors
from subobject.cli.evaluate.options import Data, MeasureOptions, Split


@spread
def segments(
    data: Data,
    *,
    split: Annotated[Split, typer.Option("--split", help="Part of the data set.")] = Split.val,
    segmenter: Annotated[
        list[str] | None, typer.Option("--segmenter", metavar="NAME", help="How images are cut; may be repeated.")
    ] = None,
    budget: Annotated[
        list[int] | None, typer.Option("--budget", metavar="K", help="Largest number of segments an image; may be repeated.")
    ] = None,
    boundary_weights: BoundaryWeights = None,
    measuring: MeasureOptions,
    common: CommonOptions,
) -> None:
    """Score segmenters at equal budgets, means over images: all that need no weights of others, at 16 to 400 segments.

    Examples:

        subobject evaluate segments --data BSDS500_FOLDER --cache scores --plot plots --json

        subobject evaluate segments --data BSDS500_FOLDER --segmenter gradient --segmenter slic --budget 32 --budget 64
    """
    with usage_errors():
        from subobject.data.bsds500 import read_split
        from subobject.metrics import parallel, plots, run
        from subobject.segments.pipeline import ImageSegmenter, shipped

        if measuring.plot is not None:
            plots.require_matplotlib()
        images = run.limited(read_split(data, split.value), measuring.limit)
        budgets = budget or list(run.BUDGETS)
        loading: dict[str, Any] = {"weights": boundary_weights, "runtime": common.runtime, "device": common.device}
        cutters = {name: ImageSegmenter.load(name, **loading) for name in segmenter or []} or shipped(**loading)
        lines = []
        with parallel.Workers(measuring.workers) as all_workers:
            for name, cutter in cutters.items():
                with progress(len(images) * len(budgets), name) as advance:
                    rows = run.evaluate_segmenter(
                        images,
                        cutter.method,
                        cutter.boundary_model,
                        budgets,
                        workers=all_workers,
                        cache=measuring.cache,
                        advance=advance,
                    )
                for row in rows:
                    lines.append({"segmenter": name, **row})
                    emit(lines[-1], "  ".join(f"{key} {value}" for key, value in lines[-1].items()), common.as_json)
        if measuring.plot is not None:
            plots.plot_against_tokens(measuring.plot, lines, split.value)
