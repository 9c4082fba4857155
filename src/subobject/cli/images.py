"""``subobject tokenize`` and ``subobject segment``: images in, tokens or label maps out."""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subobject.cli.common import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    BoundaryWeights,
    Device,
    DeviceOption,
    Json,
    MaxTokens,
    Output,
    Overlay,
    Runtime,
    RuntimeOption,
    SegmenterName,
    Sources,
    Threshold,
    Verbose,
    emit,
    fail,
    progress,
    usage_errors,
)

if TYPE_CHECKING:
    import numpy as np

    from subobject.images import FoundImage
    from subobject.scale.local import Run
    from subobject.structures import Segmentation
    from subobject.timing import Clock

OVERLAY_SUFFIX = ".overlay.png"


class Format(StrEnum):
    """File format of label maps."""

    png = "png"
    coco = "coco"
    npz = "npz"


class Engine(StrEnum):
    """What spreads the work."""

    local = "local"


_SUFFIXES = {Format.png: ".png", Format.coco: ".json", Format.npz: ".npz"}


def tokenize(
    sources: Sources,
    output: Output = None,
    max_tokens: MaxTokens = None,
    threshold: Threshold = None,
    segmenter: SegmenterName = "directsam",
    boundary_weights: BoundaryWeights = None,
    embedder: Annotated[str, typer.Option("--embedder", metavar="NAME", help="How segments become vectors.")] = "seqae",
    embedder_weights: Annotated[
        str | None, typer.Option("--embedder-weights", metavar="NAME", help="Release, folder or hub id of the embedder.")
    ] = None,
    order: Annotated[str, typer.Option("--order", metavar="NAME", help="raster, size, coarse-to-fine or random.")] = "raster",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random order.")] = 0,
    overlay: Overlay = False,
    engine: Annotated[Engine, typer.Option("--engine", help="What spreads the work.")] = Engine.local,
    runtime: RuntimeOption = Runtime.auto,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Turn images into subobject tokens: DIR/NAME.parquet with vectors, boxes and segments.

    Without --max-tokens and --threshold, an image gets at most 128 tokens. A second run with the same options does only
    what is missing.

    Examples:

        subobject tokenize photo.jpg -o tokens --max-tokens 64 --overlay

        subobject tokenize photos/ -o tokens --json > summary.jsonl
    """
    _configure_logging(verbose)
    with usage_errors():
        from subobject.images import find_images
        from subobject.tokens.store import write_tokens
        from subobject.tokens.tokenizer import SubobjectTokenizer, check_budget

        check_budget(max_tokens, threshold)
        _check_output(output, overlay)
        source: dict[str, Any] = {
            "segmenter": segmenter,
            "boundary_weights": boundary_weights,
            "embedder": embedder,
            "embedder_weights": embedder_weights,
            "order": order,
            "seed": seed,
        }
        tokenizer = SubobjectTokenizer.from_pretrained(runtime=runtime, device=device, **source)
        budget = {"max_tokens": max_tokens, "threshold": threshold}
        images = find_images(sources)
        run = _open_run(output, images, {"command": "tokenize", "overlay": overlay, **source, **budget})

    def work(image: "FoundImage", pixels: "np.ndarray", clock: "Clock") -> dict[str, Any]:
        segmentation = tokenizer.segment(pixels, max_tokens=max_tokens, threshold=threshold, clock=clock)
        with clock.measure("embeddings"):
            tokens = tokenizer.embed([pixels], [segmentation])
        if run is not None:
            if overlay:
                _write_overlay(run, image, pixels, segmentation)
            write_tokens(run.path(image, ".parquet"), [str(image.relative)], tokens, source | budget)
        return _summary(pixels, clock, tokens=tokens.num_tokens)

    _run_all(images, work, run, [".parquet"] + [OVERLAY_SUFFIX] * overlay, "tokens", as_json)


def segment(
    sources: Sources,
    output: Output = None,
    max_tokens: MaxTokens = None,
    threshold: Threshold = None,
    segmenter: SegmenterName = "directsam",
    boundary_weights: BoundaryWeights = None,
    file_format: Annotated[Format, typer.Option("--format", help="File format of the label maps.")] = Format.png,
    overlay: Overlay = False,
    runtime: RuntimeOption = Runtime.auto,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Cut images into segments: DIR/NAME.png (16 bit), NAME.json (COCO) or NAME.npz, each with the merge tree.

    Without --max-tokens and --threshold, an image gets at most 128 segments. A second run with the same options does only
    what is missing.

    Examples:

        subobject segment photo.jpg -o segments --max-tokens 32 --overlay

        subobject segment photos/ -o segments --format npz --threshold 0.3
    """
    _configure_logging(verbose)
    with usage_errors():
        from subobject.images import find_images
        from subobject.segments.pipeline import ImageSegmenter
        from subobject.tokens.tokenizer import TokenizerConfig, check_budget

        check_budget(max_tokens, threshold)
        _check_output(output, overlay)
        budget = max_tokens if (max_tokens, threshold) != (None, None) else TokenizerConfig().max_tokens
        cutter = ImageSegmenter.load(segmenter, weights=boundary_weights, runtime=runtime, device=device)
        images = find_images(sources)
        suffix = _SUFFIXES[file_format]
        settings = {
            "command": "segment",
            "segmenter": segmenter,
            "boundary_weights": boundary_weights,
            "max_tokens": budget,
            "threshold": threshold,
            "format": file_format,
            "overlay": overlay,
        }
        run = _open_run(output, images, settings)

    def work(image: "FoundImage", pixels: "np.ndarray", clock: "Clock") -> dict[str, Any]:
        segmentation = cutter.segment_pixels(pixels, max_segments=budget, threshold=threshold, clock=clock)
        if run is not None:
            if overlay:
                _write_overlay(run, image, pixels, segmentation)
            segmentation.save(run.path(image, suffix))
        return _summary(pixels, clock, segments=segmentation.num_segments)

    _run_all(images, work, run, [suffix] + [OVERLAY_SUFFIX] * overlay, "segments", as_json)


def _configure_logging(verbose: bool) -> None:
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.captureWarnings(True)
    for noisy in ("numba", "PIL", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _check_output(output: Any, overlay: bool) -> None:
    if overlay and output is None:
        raise ValueError("--overlay has nowhere to write: add -o DIR")


def _open_run(output: Any, images: "list[FoundImage]", settings: dict[str, Any]) -> "Run | None":
    from subobject.scale.local import Run

    return None if output is None else Run(output, images, settings)


def _write_overlay(run: "Run", image: "FoundImage", pixels: "np.ndarray", segmentation: "Segmentation") -> None:
    from subobject.images import write_png
    from subobject.viewer.overlay import overlay

    write_png(run.path(image, OVERLAY_SUFFIX), overlay(pixels, segmentation))


def _summary(pixels: "np.ndarray", clock: "Clock", **counts: int) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    seconds = {stage: round(value, 4) for stage, value in clock.seconds.items()}
    return {"width": width, "height": height, **counts, "seconds": seconds}


def _run_all(
    images: "list[FoundImage]",
    work: "Callable[[FoundImage, np.ndarray, Clock], dict[str, Any]]",
    run: "Run | None",
    suffixes: list[str],
    what: str,
    as_json: bool,
) -> None:
    from subobject.scale.local import process, stop_on_interrupt

    done = failed = skipped = 0
    with progress(len(images), what) as advance, stop_on_interrupt() as stop:
        for outcome in process(images, work, lambda image: run is not None and run.has(image, suffixes)):
            name = str(outcome.image.path)
            if outcome.error is not None:
                failed += 1
                typer.echo(f"Failed: {outcome.error}", err=True)
                if as_json:
                    emit({"image": name, "error": outcome.error}, "", as_json)
            elif outcome.summary is None:
                skipped += 1
                emit({"image": name, "skipped": True}, f"{name}: done by an earlier run", as_json)
            else:
                done += 1
                emit({"image": name, **outcome.summary}, _describe(name, outcome.summary, what), as_json)
            advance()
            if stop.is_set():
                fail(f"interrupted after {done} of {len(images)} images; the same command continues the run", INTERRUPTED)
    if len(images) > 1 or failed:
        earlier = f", {skipped} done by an earlier run" if skipped else ""
        typer.echo(f"{done} done, {failed} failed{earlier}", err=True)
    if run is None and done:
        typer.echo("Nothing was written: add -o DIR to keep the results", err=True)
    raise typer.Exit(SOME_FAILED if failed else OK)


def _describe(name: str, summary: dict[str, Any], what: str) -> str:
    seconds = sum(summary["seconds"].values())
    return f"{name}: {summary['width']} x {summary['height']}, {summary[what]} {what}, {seconds:.2f} s"
