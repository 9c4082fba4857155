"""``subobject data``: make and prepare data sets."""

import re
from pathlib import Path
from typing import Annotated

import typer

from subobject.cli.common import INTERRUPTED, OK, SOME_FAILED, Json, emit, fail, progress, usage_errors

app = typer.Typer(no_args_is_help=True, help="Make and prepare data sets.")


@app.command("clevr-render")
def clevr_render(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder in the layout of CLEVR.")],
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Name of the split.")] = "train",
    count: Annotated[int, typer.Option("--count", metavar="N", help="Number of scenes.")] = 100,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Seed of the split.")] = 0,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Width and height of the pictures.")] = "320x240",
    samples: Annotated[int, typer.Option("--samples", metavar="N", help="Paths of light a pixel.")] = 16,
    denoise: Annotated[bool, typer.Option("--denoise/--no-denoise", help="Take the grain out.")] = True,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes, one core each.")] = 1,
    as_json: Json = False,
) -> None:
    """Draw random scenes as CLEVR does: pictures, label maps (0 is the ground) and a scene file in the official format.

    A second run with the same options draws only what is missing; a larger --count adds scenes.

    Example:

        subobject data clevr-render --output clevr --split val --count 2000 --seed 1 --workers 2
    """
    with usage_errors():
        from subobject.data.clevr_dataset import SplitSettings, render_split

        width, height = _parse_size(size)
        settings = SplitSettings(split, seed, width, height, samples, denoise)
        outcomes = render_split(output, settings, count, workers)
    from subobject.scale.local import stop_on_interrupt

    done = failed = skipped = 0
    with progress(count, "scenes") as advance, stop_on_interrupt() as stop:
        for outcome in outcomes:
            if outcome.error is not None:
                failed += 1
                typer.echo(f"Failed: {outcome.error}", err=True)
            elif outcome.skipped:
                skipped += 1
            else:
                done += 1
            advance()
            if stop.is_set():
                outcomes.close()
    summary = {"output": str(output), "split": split, "done": done, "failed": failed, "skipped": skipped}
    earlier = f", {skipped} drawn by an earlier run" if skipped else ""
    emit(summary, f"{output}: {done} scenes of {split} drawn, {failed} failed{earlier}", as_json)
    if stop.is_set():
        fail(f"interrupted after {done + skipped} of {count} scenes; the same command continues the run", INTERRUPTED)
    raise typer.Exit(SOME_FAILED if failed else OK)


@app.command("clevr-captions")
def clevr_captions(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="CLEVR, or a folder that clevr-render wrote.")],
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Name of the split.")] = "train",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write; FOLDER/captions/SPLIT.jsonl if left out."),
    ] = None,
    colour: Annotated[bool, typer.Option("--colour/--no-colour", help="Whether captions name colours.")] = True,
    as_json: Json = False,
) -> None:
    """Write the caption of every image of a split, one JSON object a line: {"image": ..., "caption": ...}.

    Example:

        subobject data clevr-captions clevr --split val --no-colour
    """
    with usage_errors():
        from subobject.data.captions import write_captions
        from subobject.data.clevr import read_clevr

        images = read_clevr(folder, split)
        path = output or folder / "captions" / f"{split}.jsonl"
        write_captions(path, images, colour=colour)
    emit({"output": str(path), "captions": len(images)}, f"{path}: {len(images)} captions", as_json)


@app.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Token store that `subobject tokenize -o DIR` wrote.")],
    as_json: Json = False,
) -> None:
    """Compare every file of a token store with its SHA-256, and name what is missing or damaged.

    Delete a damaged shard and run the same tokenize command again: only its images are done.

    Example:

        subobject data verify tokens
    """
    with usage_errors():
        from subobject.tokens.store import TokenStore

        store = TokenStore.open(folder)
        problems = store.verify()
    for problem in problems:
        typer.echo(f"Failed: {problem}", err=True)
    manifest = store.manifest
    summary = {"store": str(folder), "images": manifest.images, "tokens": manifest.tokens, "shards": len(manifest.shards)}
    text = f"{folder}: {manifest.images} images, {manifest.tokens} tokens, {len(manifest.shards)} shards, {len(problems)} damaged"
    emit(summary | {"problems": problems}, text, as_json)
    raise typer.Exit(SOME_FAILED if problems else OK)


def _parse_size(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if match is None:
        raise ValueError(f"--size {size!r} is not a size: write WIDTHxHEIGHT, for example 320x240")
    return int(match[1]), int(match[2])
