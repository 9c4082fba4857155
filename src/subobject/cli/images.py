"""``subobject tokenize`` and ``subobject segment``: images in, tokens or label maps out."""

import logging
from dataclasses import dataclass
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
    spread,
    usage_errors,
)

if TYPE_CHECKING:
    from subobject.images import FoundImage
    from subobject.scale.jobs import Job, Outputs
    from subobject.scale.runs import Run


class Format(StrEnum):
    """File format of label maps."""

    png = "png"
    coco = "coco"
    npz = "npz"


class Engine(StrEnum):
    """What spreads the work."""

    local = "local"


class VectorType(StrEnum):
    """Number format of vectors in a store; the names of ``tokens.store.quantise.FORMATS``."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"
    float8 = "float8"
    int8 = "int8"


_SUFFIXES = {Format.png: ".png", Format.coco: ".json", Format.npz: ".npz"}


@dataclass(frozen=True)
class ImageOptions:
    """What both commands take."""

    sources: Sources
    output: Output = None
    max_tokens: MaxTokens = None
    threshold: Threshold = None
    segmenter: SegmenterName = "directsam"
    boundary_weights: BoundaryWeights = None
    overlay: Overlay = False
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes to work in.")] = 1
    runtime: RuntimeOption = Runtime.auto
    device: DeviceOption = Device.auto
    as_json: Json = False
    verbose: Verbose = False

    def check(self) -> None:
        """Refuse values that no image could be done with.

        Raises:
            ValueError: With one sentence.
        """
        from subobject.tokens.tokenizer import check_budget

        check_budget(self.max_tokens, self.threshold)
        if self.workers < 1:
            raise ValueError(f"--workers is {self.workers}: use 1 or more")
        if self.overlay and self.output is None:
            raise ValueError("--overlay has nowhere to write: add -o DIR")

    def find(self) -> "tuple[list[FoundImage], Outputs | None]":
        """Return the images of the run, and the names of their outputs where there are any."""
        from subobject.images import find_images
        from subobject.scale.jobs import Outputs
        from subobject.scale.runs import without_outputs

        found = find_images(self.sources)
        images = without_outputs(found)
        if len(images) < len(found):
            typer.echo(f"Left out {len(found) - len(images)} pictures that subobject wrote", err=True)
        return images, None if self.output is None else Outputs.of(self.output, images)

    def network(self) -> dict[str, Any]:
        """Return what runs the networks, and in how many threads."""
        import os

        threads = None if self.workers == 1 else max(1, (os.cpu_count() or 1) // self.workers)
        return {"runtime": self.runtime.value, "device": self.device.value, "threads": threads}


@spread
def tokenize(
    options: ImageOptions,
    embedder: Annotated[str, typer.Option("--embedder", metavar="NAME", help="How segments become vectors.")] = "seqae",
    embedder_weights: Annotated[
        str | None, typer.Option("--embedder-weights", metavar="NAME", help="Release, folder or hub id of the embedder.")
    ] = None,
    order: Annotated[str, typer.Option("--order", metavar="NAME", help="raster, size, coarse-to-fine or random.")] = "raster",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random order.")] = 0,
    dtype: Annotated[VectorType, typer.Option("--dtype", help="Number format of stored vectors.")] = VectorType.float32,
    pca: Annotated[int | None, typer.Option("--pca", metavar="K", help="Store K principal components of each vector.")] = None,
    shard_size: Annotated[int, typer.Option("--shard-size", metavar="N", help="Images of a shard.")] = 256,
    engine: Annotated[Engine, typer.Option("--engine", help="What spreads the work.")] = Engine.local,
) -> None:
    """Turn images into subobject tokens: a store in DIR with vectors, boxes and segments.

    Without --max-tokens and --threshold, an image gets at most 128 tokens. A second run with the same options does only
    what is missing; other options need another DIR.

    Examples:

        subobject tokenize photo.jpg -o tokens --max-tokens 64 --overlay

        subobject tokenize photos/ -o tokens --dtype int8 --workers 8 --json > summary.jsonl
    """
    _configure_logging(options.verbose)
    with usage_errors():
        options.check()
        from subobject.scale.jobs import TokenizeJob
        from subobject.scale.runs import NoRun, StoreRun
        from subobject.tokens.store import TokenWriter

        source = {
            "segmenter": options.segmenter,
            "boundary_weights": options.boundary_weights,
            "embedder": embedder,
            "embedder_weights": embedder_weights,
            "order": order,
            "seed": seed,
        }
        images, outputs = options.find()
        job = TokenizeJob(source | options.network(), options.max_tokens, options.threshold, outputs, options.overlay)
        settings = job.model.settings(max_tokens=options.max_tokens, threshold=options.threshold)
        run: Run = NoRun()
        if outputs is not None:
            writer = TokenWriter(outputs.folder, settings, dtype=dtype.value, pca=pca, shard_size=shard_size)
            run = StoreRun(outputs, options.overlay, writer, images)
    _run_all(images, job, run, "tokens", options)


@spread
def segment(
    options: ImageOptions,
    file_format: Annotated[Format, typer.Option("--format", help="File format of the label maps.")] = Format.png,
) -> None:
    """Cut images into segments: DIR/NAME.png (16 bit), NAME.json (COCO) or NAME.npz, each with the merge tree.

    Without --max-tokens and --threshold, an image gets at most 128 segments. A second run with the same options does only
    what is missing.

    Examples:

        subobject segment photo.jpg -o segments --max-tokens 32 --overlay

        subobject segment photos/ -o segments --format npz --threshold 0.3
    """
    _configure_logging(options.verbose)
    with usage_errors():
        options.check()
        from subobject.scale.jobs import OVERLAY_SUFFIX, SegmentJob
        from subobject.scale.runs import FileRun, NoRun
        from subobject.tokens.tokenizer import TokenizerConfig

        images, outputs = options.find()
        budget = options.max_tokens
        if budget is None and options.threshold is None:
            budget = TokenizerConfig().max_tokens
        source = {"name": options.segmenter, "weights": options.boundary_weights}
        suffix = _SUFFIXES[file_format]
        job = SegmentJob(source | options.network(), budget, options.threshold, outputs, options.overlay, suffix)
        assert job.model  # An option that does not fit is refused here.
        run: Run = NoRun()
        if outputs is not None:
            settings = {"command": "segment", **source, "max_tokens": budget, "threshold": options.threshold}
            settings |= {"format": file_format, "overlay": options.overlay}
            run = FileRun(outputs, [suffix] + [OVERLAY_SUFFIX] * options.overlay, settings)
    _run_all(images, job, run, "segments", options)


def _configure_logging(verbose: bool) -> None:
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.captureWarnings(True)
    for noisy in ("numba", "PIL", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _run_all(images: "list[FoundImage]", job: "Job", run: "Run", what: str, options: ImageOptions) -> None:
    """Do all images, keep and print what becomes of each, and exit."""
    from subobject.scale.local import process, stop_on_interrupt

    done = failed = skipped = 0
    interrupted = False
    with usage_errors(), run, progress(len(images), what) as advance, stop_on_interrupt() as stop:
        for outcome in process(images, job, run.has, workers=options.workers):
            name, error = str(outcome.image.path), outcome.error
            if outcome.result is not None:
                error = run.keep(outcome.result)
            if error is not None:
                failed += 1
                run.fail(outcome.image, error)
                typer.echo(f"Failed: {error}", err=True)
                if options.as_json:
                    emit({"image": name, "error": error}, "", options.as_json)
            elif outcome.result is None:
                skipped += 1
                emit({"image": name, "skipped": True}, f"{name}: done by an earlier run", options.as_json)
            else:
                done += 1
                summary = outcome.result.summary
                emit({"image": name, **summary}, _describe(name, summary, what), options.as_json)
            advance()
            if stop.is_set():
                interrupted = True
                break
    if interrupted:
        fail(f"interrupted after {done} of {len(images)} images; the same command continues the run", INTERRUPTED)
    if len(images) > 1 or failed:
        earlier = f", {skipped} done by an earlier run" if skipped else ""
        typer.echo(f"{done} done, {failed} failed{earlier}", err=True)
    if options.output is None and done:
        typer.echo("Nothing was written: add -o DIR to keep the results", err=True)
    raise typer.Exit(SOME_FAILED if failed else OK)


def _describe(name: str, summary: dict[str, Any], what: str) -> str:
    seconds = sum(summary["seconds"].values())
    return f"{name}: {summary['width']} x {summary['height']}, {summary[what]} {what}, {seconds:.2f} s"
