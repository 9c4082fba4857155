"""``TokenWriter``: images into shards, so that a killed run loses little, doubles nothing, and is continued by the same call."""

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import subobject
from subobject.files import atomic_path, lock_folder, remove_partials
from subobject.structures import Tokens
from subobject.tokens.store.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    PCA_FILE,
    SHARDS,
    FileRecord,
    Manifest,
    ShardRecord,
    footer_sha256,
)
from subobject.tokens.store.pca import Basis
from subobject.tokens.store.quantise import vector_format
from subobject.tokens.store.rows import TokenRow, write_shard

logger = logging.getLogger(__name__)
SHARD_SIZE = 256


class RefusedImage(ValueError):
    """An image that a store does not take; the others are not harmed."""


class WrittenImage(NamedTuple):
    """An image in the store: its shard, and checksum and size of its file, None if it came from none."""

    shard: str
    sha256: str | None
    file_size: int | None


class TokenWriter:
    """Writes a token store, or continues one.

    Images are gathered and written ``shard_size`` at a time: under a temporary name, flushed to the disk, renamed, then listed in
    ``manifest.json``. Whatever is listed is complete, so after a crash at any moment the same call goes on with the images that
    are not ``in`` the writer. One writer at a time has a folder.

    Args:
        folder: The store; made if missing.
        settings: What decides the tokens, as JSON values; ``SubobjectTokenizer.settings`` gives them. A store is continued with
            the same ones only.
        dtype: Number format of the vectors: ``float32``, ``float16``, ``bfloat16``, ``float8`` or ``int8``.
        pca: Number of principal components to reduce vectors to, fitted to the first shard; None keeps vectors whole.
        shard_size: Images of a shard.

    Raises:
        ValueError: If the folder cannot be written, another writer has it, it holds a store of other settings, or an argument is
            out of range.

    Example:
        >>> with TokenWriter("store", tokenizer.settings(), dtype="int8") as writer:      # doctest: +SKIP
        ...     for path in paths:
        ...         if path.name not in writer:
        ...             writer.write(path.name, tokenizer(path), file=path)
    """

    def __init__(
        self,
        folder: str | Path,
        settings: dict[str, Any],
        *,
        dtype: str = "float32",
        pca: int | None = None,
        shard_size: int = SHARD_SIZE,
    ):
        self.folder = Path(folder)
        self.images: dict[str, WrittenImage] = {}
        self._format = vector_format(dtype)
        if shard_size < 1:
            raise ValueError(f"shard_size is {shard_size}: use 1 or more")
        if pca is not None and pca < 1:
            raise ValueError(f"pca is {pca}: use 1 or more")
        self._shard_size = shard_size
        self._rows: dict[str, TokenRow] = {}
        self._basis: Basis | None = None
        self._failed: list[dict[str, str]] = []
        versions = {"subobject": subobject.__version__, "pyarrow": pa.__version__}
        with ExitStack() as stack:
            stack.enter_context(lock_folder(self.folder))
            self._manifest = self._continue(Manifest(settings, dtype, pca, versions))
            self._held = stack.pop_all()

    def __enter__(self) -> "TokenWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __contains__(self, image_id: str) -> bool:
        """Return whether an image is in the store, or will be when the writer closes."""
        return image_id in self.images or image_id in self._rows

    def write(self, image_id: str, tokens: Tokens, *, file: Path | None = None) -> None:
        """Add the tokens of one image.

        Args:
            image_id: Its name; unique in the store.
            tokens: A batch of one.
            file: The file it was read from; its checksum is kept.

        Raises:
            RefusedImage: If the name is taken, or the vectors do not fit the store.
            ValueError: If the batch does not hold one image, or a shard cannot be written; see ``flush``.
        """
        self.write_row(TokenRow.from_tokens(image_id, tokens, file))

    def write_row(self, row: TokenRow) -> None:
        """Add one image as a row; see ``write``."""
        if row.image_id in self:
            raise RefusedImage(f"{row.image_id} is in {self.folder} already: an image is written once")
        expected = self._manifest.vector_size
        if expected is not None and row.vectors.shape[1] != expected:
            raise RefusedImage(
                f"{row.image_id}: its vectors have {row.vectors.shape[1]} values, those of {self.folder} {expected}"
            )
        try:
            self._format.check(row.vectors)
        except ValueError as error:
            raise RefusedImage(f"{row.image_id}: {error}") from None
        if expected is None:
            self._manifest = replace(self._manifest, vector_size=row.vectors.shape[1])
        self._rows[row.image_id] = row
        if len(self._rows) >= self._shard_size:
            self.flush()

    def fail(self, image: str, error: str) -> None:
        """List an image that gave no tokens in the manifest."""
        self._failed.append({"image": image, "error": error})

    def remove(self, image_ids: list[str]) -> None:
        """Take the shards that hold these images out of the store, to write their images again; they are no longer ``in`` it."""
        shards = {self.images[image_id].shard for image_id in image_ids}
        if not shards:
            return
        self._publish([one for one in self._manifest.shards if one.file not in shards])
        for name in shards:
            (self.folder / name).unlink(missing_ok=True)
        self.images = {image_id: image for image_id, image in self.images.items() if image.shard not in shards}

    def flush(self) -> None:
        """Write the gathered images as a shard.

        Raises:
            ValueError: If they are too few to fit the principal components, or the disk is full or fails.
        """
        if not self._rows:
            return
        try:
            self._write_shard()
        except OSError as error:
            raise ValueError(f"cannot write a shard into {self.folder}: {error.strerror or error}") from error
        self._rows.clear()

    def _write_shard(self) -> None:
        rows = list(self._rows.values())
        self._fit(rows)
        name = f"{SHARDS}/{self._next:05}.parquet"
        metadata = {"format_version": FORMAT_VERSION, "dtype": self._manifest.dtype, "pca": self._manifest.pca}
        metadata |= {"settings": self._manifest.settings, "versions": self._manifest.versions}
        with atomic_path(self.folder / name, sync=True) as partial:
            write_shard(partial, rows, self._format, self._basis, metadata)
            counts = {"images": len(rows), "tokens": sum(len(row.areas) for row in rows)}
            record = ShardRecord.of(partial, name, **counts, footer_sha256=footer_sha256(partial))
        self._publish([*self._manifest.shards, record])
        self._next += 1
        self.images |= {row.image_id: WrittenImage(name, row.sha256, row.file_size) for row in rows}

    def close(self) -> None:
        """Write what is gathered and give the folder free; the store can be continued later."""
        try:
            self.flush()
            self._publish(self._manifest.shards, failed=self._failed)
        finally:
            self._held.close()

    def _publish(self, shards: Iterable[ShardRecord], **changes: Any) -> None:
        self._manifest = replace(self._manifest, shards=tuple(shards), **changes)
        self._manifest.write(self.folder)

    def _fit(self, rows: list[TokenRow]) -> None:
        """Fit the principal components, where they are wanted and missing."""
        if self._manifest.pca is None or self._basis is not None:
            return
        basis = Basis.fit(np.concatenate([row.vectors for row in rows]), self._manifest.pca)
        with atomic_path(self.folder / PCA_FILE, sync=True) as partial:
            basis.save(partial)
            record = FileRecord.of(partial, PCA_FILE)
        self._basis, self._manifest = basis, replace(self._manifest, basis=record)

    def _continue(self, fresh: Manifest) -> Manifest:
        """Take up what an earlier run left; what it left unfinished is removed."""
        remove_partials([self.folder, self.folder / SHARDS])
        shards = [path for path in (self.folder / SHARDS).glob("*.parquet") if path.stem.isdecimal()]
        self._next = 1 + max((int(path.stem) for path in shards), default=-1)
        if not (self.folder / MANIFEST).exists():
            if shards:
                raise ValueError(f"{self.folder} holds shards but no {MANIFEST}: bring it back, or give another folder")
            fresh.write(self.folder)
            return fresh
        old = Manifest.read(self.folder)
        old.check_same(fresh, self.folder)
        if old.basis is not None:
            if problem := old.basis.problem(self.folder):
                raise ValueError(f"{problem}: without it {self.folder} cannot be continued; give another folder")
            self._basis = Basis.load(self.folder / old.basis.file)
        kept = [one for one in old.shards if self._take_up(one)]
        for path in {*shards} - {self.folder / one.file for one in kept}:
            path.unlink()
        manifest = replace(old, shards=tuple(kept), versions=fresh.versions, failed=[])
        manifest.write(self.folder)
        return manifest

    def _take_up(self, record: ShardRecord) -> bool:
        """Read which images a listed shard holds; returns False if it is missing or unreadable, so that they are done again."""
        path = self.folder / record.file
        try:
            if path.stat().st_size != record.bytes:
                raise OSError("its size is wrong")
            columns = pq.read_table(path, columns=["image_id", *WrittenImage._fields[1:]], page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            logger.warning("%s is missing or damaged and its images are done again: %s", path, error)
            return False
        for row in columns.to_pylist():
            self.images[row["image_id"]] = WrittenImage(record.file, row["sha256"], row["file_size"])
        return True
