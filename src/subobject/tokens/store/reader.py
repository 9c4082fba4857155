"""``TokenStore``: tokens out of shards, by index, by image or in order. No torch."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from subobject.structures import Tokens
from subobject.tokens.store.manifest import Manifest, ShardRecord, footer_sha256
from subobject.tokens.store.pca import Basis
from subobject.tokens.store.quantise import vector_format
from subobject.tokens.store.rows import TokenRow, read_row

if TYPE_CHECKING:
    from subobject.tokens.store.stream import TokenStream

_OPEN_SHARDS = 8


class StoredTokens(NamedTuple):
    """Name and tokens of one image; ``tokens`` is a batch of one."""

    image_id: str
    tokens: Tokens


class TokenStore:
    """Tokens of many images in a folder that ``subobject tokenize -o`` or ``TokenWriter`` wrote; ``open`` makes one.

    Images are numbered in the order in which they were written. Random access reads one row group of a shard and keeps the last
    one, so neighbours cost nothing. What is read is checked against the checksums in its file; ``verify`` checks every byte.

    Attributes:
        folder: Where the store is.
        manifest: Its contents: settings, counts, files with checksums.

    Example:
        >>> store = TokenStore.open("store")                        # doctest: +SKIP
        >>> image_id, tokens = store[store.index("photos/a.jpg")]   # doctest: +SKIP
        >>> tokens.vectors.shape, tokens.segmentation.size_hw       # doctest: +SKIP
        ((128, 256), (480, 640))
    """

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = folder
        self.manifest = manifest
        self._format = vector_format(manifest.dtype)
        self._ends = list(accumulate(shard.images for shard in manifest.shards))
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._last_group: tuple[tuple[int, int], pa.Table] | None = None

    @classmethod
    def open(cls, folder: str | Path) -> "TokenStore":
        """Open a store; only its manifest is read.

        Raises:
            ValueError: If the folder holds no store, or one of another version.
        """
        return cls(Path(folder), Manifest.read(Path(folder)))

    @property
    def settings(self) -> dict[str, Any]:
        """How the tokens were made: segmenter, embedder, SHA-256 of their weights, budget, order."""
        return self.manifest.settings

    def __len__(self) -> int:
        """Return the number of images."""
        return self.manifest.images

    def __getitem__(self, index: int) -> StoredTokens:
        """Return name and tokens of one image; negative indices count from the end.

        Raises:
            IndexError: If there is no such image.
            ValueError: If its shard is missing or damaged; the message names the file.
        """
        row = self.row(index)
        return StoredTokens(row.image_id, self._tokens(row, index))

    def __iter__(self) -> Iterator[StoredTokens]:
        """Iterate over the images in order."""
        return (self[i] for i in range(len(self)))

    def __contains__(self, image_id: str) -> bool:
        """Return whether an image is in the store."""
        return image_id in self._index

    def index(self, image_id: str) -> int:
        """Return the index of an image.

        Raises:
            ValueError: If it is not in the store.
        """
        if image_id not in self._index:
            raise ValueError(f"{self.folder} holds no image {image_id!r}: names are relative paths, as in its column image_id")
        return self._index[image_id]

    def image_ids(self) -> list[str]:
        """Return the names of all images, in order."""
        return list(self._index)

    def row(self, index: int) -> TokenRow:
        """Return one image as a row: vectors, boxes and areas are ready, the label map stays compressed.

        Raises:
            IndexError: If there is no such image.
            ValueError: If its shard is missing or damaged; the message names the file.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a store of {len(self)}")
        index %= len(self)
        number = bisect_right(self._ends, index)
        within = index - (self._ends[number] - self.manifest.shards[number].images)
        metadata = self._file(number).metadata
        ends = list(accumulate(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)))
        group = bisect_right(ends, within)
        table, basis = self._group(number, group), self._basis
        with _named(self.folder, self.manifest.shards[number]):
            return read_row(table.slice(within - (ends[group] - table.num_rows), 1), self._format, basis)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[TokenRow]:
        """Iterate over rows ``start .. stop - 1`` in order; the fastest way through a store."""
        return (self.row(i) for i in range(start, len(self) if stop is None else stop))

    def stream(self, **options: Any) -> "TokenStream":
        """Return a ``torch.utils.data.IterableDataset`` over the images; options as in ``stream.TokenStream``.

        Raises:
            ModuleNotFoundError: If torch is not installed.
        """
        try:
            from subobject.tokens.store.stream import TokenStream
        except ModuleNotFoundError:
            raise ModuleNotFoundError('streaming into a DataLoader needs torch: pip install "subobject[torch]"') from None
        return TokenStream(self, **options)

    def verify(self) -> list[str]:
        """Compare every file with its SHA-256 in the manifest.

        Returns:
            One sentence a file that is missing or damaged; empty if all is well.
        """
        records = [*self.manifest.shards, *([self.manifest.basis] if self.manifest.basis else [])]
        return [problem for record in records if (problem := record.problem(self.folder))]

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind: a copy in another process opens its own."""
        return {"folder": self.folder, "manifest": self.manifest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @cached_property
    def _index(self) -> dict[str, int]:
        names: list[str] = []
        for number, record in enumerate(self.manifest.shards):
            with _named(self.folder, record):
                names += self._file(number).read(columns=["image_id"], use_threads=False)["image_id"].to_pylist()
        return {name: i for i, name in enumerate(names)}

    @cached_property
    def _basis(self) -> Basis | None:
        record = self.manifest.basis
        if record is None:
            return None
        if problem := record.problem(self.folder):
            raise ValueError(f"{problem}: without it the vectors cannot be read")
        return Basis.load(self.folder / record.file)

    def _tokens(self, row: TokenRow, index: int) -> Tokens:
        record = self.manifest.shards[bisect_right(self._ends, index % len(self))]
        with _named(self.folder, record):
            return row.tokens()

    def _file(self, number: int) -> pq.ParquetFile:
        """Open a shard, or take it from those that are open."""
        if number in self._files:
            self._files.move_to_end(number)
            return self._files[number]
        record = self.manifest.shards[number]
        path = self.folder / record.file
        with _named(self.folder, record):
            if path.stat().st_size != record.bytes:
                raise ValueError(f"it has {path.stat().st_size:,} bytes instead of {record.bytes:,}")
            if footer_sha256(path) != record.footer_sha256:
                raise ValueError("its footer differs from the one that was written")
            file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
            if file.metadata.num_rows != record.images:
                raise ValueError(f"it has {file.metadata.num_rows} images instead of {record.images}")
        self._files[number] = file
        if len(self._files) > _OPEN_SHARDS:
            self._files.popitem(last=False)[1].close()
        return file

    def _group(self, number: int, group: int) -> pa.Table:
        if self._last_group is None or self._last_group[0] != (number, group):
            file = self._file(number)
            with _named(self.folder, self.manifest.shards[number]):
                self._last_group = (number, group), file.read_row_group(group, use_threads=False)
        return self._last_group[1]


@contextmanager
def _named(folder: Path, record: ShardRecord) -> Iterator[None]:
    """Turn whatever a damaged shard raises in the block into one sentence that names it."""
    path = folder / record.file
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: run the command that made the store again") from None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path} is damaged ({reason}): delete it and run the command that made the store again") from error
