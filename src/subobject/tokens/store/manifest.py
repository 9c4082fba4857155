"""``manifest.json``: what a store holds, how it was made, and the checksum of each of its files."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from subobject.files import atomic_path, sha256

MANIFEST = "manifest.json"
FORMAT = "subobject-tokens"
FORMAT_VERSION = 2
PCA_FILE = "pca.safetensors"
SHARDS = "shards"
"""Folder of the Parquet files; nothing else is in it, so that other libraries can read it as a whole."""


@dataclass(frozen=True)
class FileRecord:
    """One file of a store: its name, its size in bytes and its SHA-256."""

    file: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path, name: str, **more: Any) -> Self:
        """Measure the file at ``path``, which is called ``name`` in the store; ``more`` are the other fields of a subclass."""
        return cls(file=name, bytes=path.stat().st_size, sha256=sha256(path), **more)

    def problem(self, folder: Path) -> str | None:
        """Return one sentence if the file is missing or its bytes differ from the record, else None."""
        path = folder / self.file
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != self.bytes:
            return f"{path} is damaged: it has {path.stat().st_size:,} bytes instead of {self.bytes:,}"
        if sha256(path) != self.sha256:
            return f"{path} is damaged: its SHA-256 differs from the one in {MANIFEST}"
        return None


@dataclass(frozen=True, kw_only=True)
class ShardRecord(FileRecord):
    """One Parquet file of a store, with the images and tokens in it.

    Attributes:
        images: Number of images.
        tokens: Number of tokens.
        footer_sha256: SHA-256 of the file's footer, see ``footer_sha256``.
    """

    images: int
    tokens: int
    footer_sha256: str


def footer_sha256(path: Path) -> str:
    """Return the SHA-256 of the footer of a Parquet file.

    Parquet has checksums of pages, but none of the footer that says where they are; with this one, reading notices every flip
    without reading the whole file.

    Raises:
        ValueError: If the file has no footer.
    """
    with path.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(end - 8, 0))
        size = int.from_bytes(stream.read(4), "little")
        if size + 12 > end:
            raise ValueError("it has no footer")
        stream.seek(end - 8 - size)
        return hashlib.sha256(stream.read()).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """Contents of a store.

    Attributes:
        settings: What decides the tokens: segmenter, embedder, SHA-256 of their weights, budget, order.
        dtype: Number format of the vectors; a key of ``quantise.FORMATS``.
        pca: Principal components a vector is reduced to; None means that it is kept whole.
        versions: Version of each package that wrote the store.
        vector_size: Values of a vector when it is read, ``D``; None before the first image.
        shards: The Parquet files, in the order of their images.
        basis: The file of the principal components; None without them, or before they are fitted.
        failed: Images of the last run that gave no tokens: ``{"image", "error"}``.
    """

    settings: dict[str, Any]
    dtype: str
    pca: int | None
    versions: dict[str, str]
    vector_size: int | None = None
    shards: tuple[ShardRecord, ...] = ()
    basis: FileRecord | None = None
    failed: list[dict[str, str]] = field(default_factory=list)

    @property
    def images(self) -> int:
        """Number of images in the store."""
        return sum(shard.images for shard in self.shards)

    @property
    def tokens(self) -> int:
        """Number of tokens in the store."""
        return sum(shard.tokens for shard in self.shards)

    def check_same(self, other: "Manifest", folder: Path) -> None:
        """Refuse to continue a store with other settings.

        Raises:
            ValueError: With one sentence that names the first setting that differs.
        """
        ours, theirs = (one.settings | {"dtype": one.dtype, "pca": one.pca} for one in (self, other))
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                raise ValueError(
                    f"{folder} was made with {key} = {json.dumps(ours.get(key))}, not {json.dumps(theirs.get(key))}: "
                    "continue it with the same settings, or give another folder"
                )

    def write(self, folder: Path) -> None:
        """Write ``manifest.json``; readers see the old one or the new one."""
        document = {"format": FORMAT, "format_version": FORMAT_VERSION, "images": self.images, "tokens": self.tokens} | asdict(
            self
        )
        with atomic_path(folder / MANIFEST, sync=True) as partial:
            partial.write_text(json.dumps(document, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read ``manifest.json`` of a store.

        Raises:
            ValueError: If there is none, or it is damaged or of another version.
        """
        path = folder / MANIFEST
        try:
            document = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(
                f"{folder} holds no token store ({MANIFEST}): make one with `subobject tokenize SOURCE -o {folder}`"
            ) from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error})") from None
        if not isinstance(document, Mapping) or document.get("format") != FORMAT:
            raise ValueError(f"{path} is not the manifest of a token store")
        if document.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"{path} has format version {document.get('format_version')}, but this version of subobject reads "
                f"{FORMAT_VERSION}: tokenize the images again"
            )
        try:
            values = {name: document[name] for name in cls.__dataclass_fields__}
            values["shards"] = tuple(ShardRecord(**shard) for shard in document["shards"])
            values["basis"] = None if document["basis"] is None else FileRecord(**document["basis"])
            manifest = cls(**values)
            if (manifest.images, manifest.tokens) != (document["images"], document["tokens"]):
                raise ValueError("its counts do not add up")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error})") from None
        return manifest
