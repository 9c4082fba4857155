"""``subobject evaluate reconstruction``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from subobject.cli.common import BoundaryWeights, CommonOptions, SegmenterName, emit, progress, spread, usage_errors
from subobject.cli.evaluate.options import Data, Limit, Split


@spread
def reconstruction(
    data: Data,
    *,
    split: Annotated[Split, typer.Option("--split", help="Part of the data set.")] = Split.val,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="NAME", help="seqae, patch-32, jpeg ...; may be repeated; all if none is named."),
    ] = None,
    budget: Annotated[
        list[int] | None, typer.Option("--budget", metavar="K", help="Largest number of tokens an image; may be repeated.")
    ] = None,
    segmenter: SegmenterName = "directsam",
    boundary_weights: BoundaryWeights = None,
    embedder_weights: Annotated[
        str | None, typer.Option("--embedder-weights", metavar="NAME", help="Release, folder or hub id of the SeqAE network.")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", metavar="NAME", help="Number format of the stored vectors.")] = "int8",
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="Also write ID.png: all pictures of an image side by side.")
    ] = None,
    limit: Limit = None,
    common: CommonOptions,
) -> None:
    """Score pictures decoded from tokens alone, against tokens, kept values and bytes, at 32, 64, 128 and 256 tokens.

    Example:

        subobject evaluate reconstruction --data BSDS500_FOLDER --budget 128 --limit 10 --pictures pictures
    """
    with usage_errors():
        from subobject.data.bsds500 import read_split
        from subobject.images import write_png
        from subobject.metrics import rate, run
        from subobject.metrics.codecs import CODECS
        from subobject.segments.pipeline import ImageSegmenter
        from subobject.tokens.tokenizer import load_embedder
        from subobject.viewer.sheet import sheet

        images = run.limited(read_split(data, split.value), limit)
        names = method or [*rate.METHODS, *CODECS]
        where: dict[str, Any] = {"runtime": common.runtime, "device": common.device}
        cutter = ImageSegmenter.load(segmenter, weights=boundary_weights, **where)
        coders = rate.make_coders(
            [name for name in names if name not in CODECS],
            lambda image, budget: cutter(image, max_segments=budget),
            lambda name, weights: load_embedder(name, embedder_weights if name == "seqae" else weights, **where),
        )

        def show(image: str, rows: list[list[rate.Titled]]) -> None:
            if pictures is not None:
                write_png(pictures / f"{image}.png", sheet(rows))

        with progress(len(images), "reconstruction") as advance:
            results = rate.evaluate(
                images,
                coders,
                [name for name in names if name in CODECS],
                budget or [32, 64, 128, 256],
                dtype=dtype,
                advance=advance,
                show=show,
            )
    for row in results:
        emit(row, "  ".join(f"{key} {value}" for key, value in row.items()), common.as_json)
