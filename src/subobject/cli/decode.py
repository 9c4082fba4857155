"""``subobject decode``: tokens in, pictures out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subobject.cli.common import OK, SOME_FAILED, CommonOptions, Output, emit, spread, usage_errors

if TYPE_CHECKING:
    from subobject.embeddings import Embedder
    from subobject.tokens.store import TokenStore


@spread
def decode(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Token store that `subobject tokenize -o DIR` wrote.")],
    *,
    output: Output = None,
    common: CommonOptions,
) -> None:
    """Paint pictures from tokens, from their vectors and boxes alone: NAME.decoded.png, in the store or in the output folder.

    Example:

        subobject decode tokens -o pictures
    """
    with usage_errors():
        from subobject.images import FoundImage, write_png
        from subobject.scale.jobs import DECODED_SUFFIX, Outputs
        from subobject.tokens.store import TokenStore
        from subobject.tokens.tokenizer import decode_tokens

        folder = output or source
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"the output {folder} is a file: give a folder with -o")
        store = TokenStore.open(source)
        embedder = _embedder(store, common.runtime, common.device)
        names, errors = _names(store)
        outputs = Outputs.of(folder, [FoundImage(Path(name), Path(name)) for name in names.values()])
    for i, name in names.items():
        try:
            picture = decode_tokens(store[i].tokens, embedder)[0]
        except ValueError as error:
            errors.append(str(error))
            continue
        target = outputs.path(Path(name), DECODED_SUFFIX)
        write_png(target, picture)
        height, width = picture.shape[:2]
        emit({"image_id": name, "image": str(target), "width": width, "height": height}, f"{name} -> {target}", common.as_json)
    for reason in dict.fromkeys(errors):  # A damaged shard is named once, not once an image.
        typer.echo(f"Failed: {reason}", err=True)
        if common.as_json:
            emit({"error": reason, "images": errors.count(reason)}, "", common.as_json)
    if errors:
        typer.echo(f"{len(store) - len(errors)} done, {len(errors)} failed", err=True)
    raise typer.Exit(SOME_FAILED if errors else OK)


def _names(store: "TokenStore") -> tuple[dict[int, str], list[str]]:
    """Return the names of the images that can be decoded, by index, and one sentence for each of the others."""
    names: dict[int, str] = {}
    errors = []
    for i in range(len(store)):
        try:
            name = store.row(i).image_id
        except ValueError as error:
            errors.append(str(error))
            continue
        if Path(name).is_absolute() or ".." in Path(name).parts:
            errors.append(f"{name} leads out of the output folder: a store must not choose where files are written")
        else:
            names[i] = name
    return names, errors


def _embedder(store: "TokenStore", runtime: str, device: str) -> "Embedder":
    """Load the embedder that made a store, and make sure that it is the same.

    Raises:
        ValueError: If the store does not name it, or its weights have changed since.
    """
    from subobject.tokens.tokenizer import load_embedder
    from subobject.weights import fingerprint

    settings = store.settings
    if "embedder" not in settings:
        raise ValueError(f"{store.folder} does not say which embedder made it: its settings hold no 'embedder'")
    embedder = load_embedder(settings["embedder"], settings.get("embedder_weights"), runtime=runtime, device=device)
    folder, expected = getattr(embedder, "folder", None), settings.get("embedder_sha256")
    if folder is not None and expected is not None and fingerprint(folder) != expected:
        raise ValueError(
            f"the weights of the embedder {settings['embedder']!r} in {folder} are not those that made {store.folder} "
            "(their SHA-256 differs): bring those back, or tokenize the images again"
        )
    return embedder
