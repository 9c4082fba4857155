"""``subobject decode``: tokens in, pictures out."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subobject.cli.common import (
    OK,
    SOME_FAILED,
    Device,
    DeviceOption,
    Json,
    Output,
    Runtime,
    RuntimeOption,
    emit,
    usage_errors,
)

if TYPE_CHECKING:
    import numpy as np

    from subobject.embeddings import Embedder

SUFFIX = ".decoded.png"


def decode(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `subobject tokenize` wrote, or one file of it.")],
    output: Output = None,
    runtime: RuntimeOption = Runtime.auto,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
) -> None:
    """Paint pictures from tokens, from their vectors and boxes alone: NAME.decoded.png, beside the tokens or in DIR.

    Example:

        subobject decode tokens -o pictures
    """
    with usage_errors():
        files = _find(source)
        root = source if source.is_dir() else source.parent
        folder = output or root
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"the output {folder} is a file: give a folder with -o")
    failed = 0
    for file in files:
        try:
            picture = _decode_file(file, runtime, device)
        except ValueError as error:
            failed += 1
            typer.echo(f"Failed: {error}", err=True)
            if as_json:
                emit({"tokens": str(file), "error": str(error)}, "", as_json)
            continue
        from subobject.images import write_png

        target = folder / file.relative_to(root).with_suffix(SUFFIX)
        write_png(target, picture)
        height, width = picture.shape[:2]
        emit({"tokens": str(file), "image": str(target), "width": width, "height": height}, f"{file} -> {target}", as_json)
    raise typer.Exit(SOME_FAILED if failed else OK)


def _find(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ValueError(f"{source} does not exist: give a folder that `subobject tokenize` wrote")
    files = sorted(file for file in source.rglob("*.parquet") if not file.name.startswith("."))
    if not files:
        raise ValueError(f"{source} holds no tokens (*.parquet): make some with `subobject tokenize ... -o {source}`")
    return files


def _decode_file(file: Path, runtime: str, device: str) -> "np.ndarray":
    from subobject.tokens.store import read_tokens
    from subobject.tokens.tokenizer import decode_tokens

    stored = read_tokens(file)
    name, weights = stored.source.get("embedder"), stored.source.get("embedder_weights")
    if name is None:
        raise ValueError(f"{file} does not say which embedder made it: write it again with `subobject tokenize`")
    return decode_tokens(stored.tokens, _embedder(name, weights, runtime, device))[0]


@cache
def _embedder(name: str, weights: str | None, runtime: str, device: str) -> "Embedder":
    from subobject.tokens.tokenizer import load_embedder

    return load_embedder(name, weights, runtime=runtime, device=device)
