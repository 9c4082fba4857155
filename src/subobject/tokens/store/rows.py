"""One image as a row of a shard, and shards as Arrow tables."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from subobject import geometry
from subobject.files import sha256
from subobject.structures import MergeTree, Segmentation, Tokens
from subobject.tokens.store.pca import Basis
from subobject.tokens.store.quantise import VectorFormat

ROW_GROUP = 16
"""Images of a row group, the unit that random access reads: a few megabytes at most."""
_MAX_TOKENS = 2**16
_METADATA_KEY = "subobject"


@dataclass(frozen=True, eq=False)
class TokenRow:
    """Tokens of one image as a shard holds them: all but the label map is ready to use.

    Attributes:
        image_id: Name of the image, its relative path as a rule.
        vectors: ``(N, D)`` float32.
        boxes: Token boxes ``(x, y, w, h)`` in [0, 1], ``(N, 4)`` float32.
        areas: Pixels of each segment, ``(N,)`` int64.
        size_hw: Height and width of the image.
        labels: Label map ``(H, W)`` as a PNG of 8 or 16 bits.
        tree_parents: As in ``MergeTree``, ``(2 N - 1,)`` int32.
        tree_strengths: As in ``MergeTree``, ``(2 N - 1,)`` float32.
        sha256: Of the bytes of the image file; None if it was none.
        file_size: Bytes of the image file; None if it was none.
    """

    image_id: str
    vectors: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    size_hw: tuple[int, int]
    labels: bytes
    tree_parents: np.ndarray
    tree_strengths: np.ndarray
    sha256: str | None = None
    file_size: int | None = None

    @classmethod
    def from_tokens(cls, image_id: str, tokens: Tokens, file: Path | None = None) -> "TokenRow":
        """Make the row of one image.

        Args:
            image_id: Its name.
            tokens: Its tokens, a batch of one.
            file: The file it was read from, whose checksum is kept.

        Raises:
            ValueError: If the batch does not hold exactly one image, or more tokens than a label map of 16 bits can name.
        """
        segmentation = tokens.segmentation
        if tokens.num_tokens > _MAX_TOKENS:
            raise ValueError(f"{image_id} has {tokens.num_tokens:,} tokens, but a store holds at most {_MAX_TOKENS:,} an image")
        return cls(
            image_id=image_id,
            vectors=tokens.vectors,
            boxes=tokens.boxes,
            areas=tokens.areas,
            size_hw=segmentation.size_hw,
            labels=_to_png(segmentation.labels),
            tree_parents=segmentation.tree.parents,
            tree_strengths=segmentation.tree.strengths,
            sha256=None if file is None else sha256(file),
            file_size=None if file is None else file.stat().st_size,
        )

    def tokens(self) -> Tokens:
        """Return the tokens with their segmentation, which decodes the label map.

        Raises:
            ValueError: If the parts of the row do not fit each other.
        """
        boxes = geometry.from_token_boxes(self.boxes, self.size_hw)
        tree = MergeTree(self.tree_parents, self.tree_strengths)
        segmentation = Segmentation(_from_png(self.labels), boxes, self.areas, tree)
        offsets = np.array([0, len(self.areas)], dtype=np.int64)
        return Tokens(self.vectors, self.boxes, self.areas, offsets, (segmentation,))


def schema(number_format: VectorFormat, size: int) -> pa.Schema:
    """Return the columns of a shard whose stored vectors have ``size`` values."""
    fields = [
        ("image_id", pa.string()),
        ("sha256", pa.string()),
        ("file_size", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("vectors", pa.list_(pa.list_(pa.from_numpy_dtype(number_format.codes), size))),
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
        ("areas", pa.list_(pa.int32())),
        ("labels", pa.binary()),
        ("tree_parents", pa.list_(pa.int32())),
        ("tree_strengths", pa.list_(pa.float32())),
    ]
    if number_format.scaled:
        fields.insert(6, ("scales", pa.list_(pa.float32())))
    return pa.schema(fields)


def write_shard(
    path: Path, rows: Sequence[TokenRow], number_format: VectorFormat, basis: Basis | None, metadata: dict[str, Any]
) -> None:
    """Write rows, at least one, as a Parquet file with checksums of its pages; ``metadata`` goes into its footer as JSON."""
    vectors = np.concatenate([row.vectors for row in rows])
    codes, scales = number_format.encode(vectors if basis is None else basis.project(vectors))
    counts = [len(row.areas) for row in rows]
    nodes = [len(row.tree_parents) for row in rows]
    columns = {
        "image_id": [row.image_id for row in rows],
        "sha256": [row.sha256 for row in rows],
        "file_size": [row.file_size for row in rows],
        "height": [row.size_hw[0] for row in rows],
        "width": [row.size_hw[1] for row in rows],
        "vectors": _lists(codes, counts),
        "boxes": _lists(np.concatenate([row.boxes for row in rows]), counts),
        "areas": _lists(np.concatenate([row.areas for row in rows]).astype(np.int32), counts),
        "labels": [row.labels for row in rows],
        "tree_parents": _lists(np.concatenate([row.tree_parents for row in rows]), nodes),
        "tree_strengths": _lists(np.concatenate([row.tree_strengths for row in rows]), nodes),
    }
    if scales is not None:
        columns["scales"] = _lists(scales, counts)
    table_schema = schema(number_format, codes.shape[1]).with_metadata({_METADATA_KEY: json.dumps(metadata)})
    # Measured: a dictionary is the smallest for codes of 8 bits, which Parquet keeps in 32, and split bytes for wider ones.
    small = number_format.codes.itemsize == 1
    vector_path = "vectors.list.element.list.element"
    pq.write_table(
        pa.table(columns, schema=table_schema),
        path,
        row_group_size=ROW_GROUP,
        compression="zstd",
        use_dictionary=[vector_path] if small else False,
        use_byte_stream_split=False if small else [vector_path],
        write_page_checksum=True,
    )


def read_row(table: pa.Table, number_format: VectorFormat, basis: Basis | None) -> TokenRow:
    """Return the only row of a table in the schema of a shard; the arrays are copies."""
    value = {name: table[name][0].as_py() for name in ("image_id", "sha256", "file_size", "height", "width", "labels")}
    scales = _values(table["scales"]) if number_format.scaled else None
    vectors = number_format.decode(_values(table["vectors"]), scales)
    return TokenRow(
        image_id=value["image_id"],
        vectors=np.array(vectors if basis is None else basis.restore(vectors)),
        boxes=np.array(_values(table["boxes"])),
        areas=_values(table["areas"]).astype(np.int64),
        size_hw=(value["height"], value["width"]),
        labels=value["labels"],
        tree_parents=np.array(_values(table["tree_parents"])),
        tree_strengths=np.array(_values(table["tree_strengths"])),
        sha256=value["sha256"],
        file_size=value["file_size"],
    )


def _lists(values: np.ndarray, counts: list[int]) -> pa.ListArray:
    """Pack ``(sum counts, ...)`` values as one list a row."""
    flat = pa.array(values.ravel())
    items = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), items)


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """Return the values of a list column of one row, ``(n,)``, or ``(n, size)`` where its items are lists of one size."""
    items = column.combine_chunks().flatten()
    if pa.types.is_fixed_size_list(items.type):
        return items.flatten().to_numpy(zero_copy_only=False).reshape(len(items), items.type.list_size)
    return items.to_numpy(zero_copy_only=False)


def _to_png(labels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    narrow = np.uint8 if labels.max() < 2**8 else np.uint16
    Image.fromarray(labels.astype(narrow)).save(buffer, "png", compress_level=9)
    return buffer.getvalue()


def _from_png(content: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return np.asarray(image).astype(np.int32)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"its label map is no PNG: {error}") from None
