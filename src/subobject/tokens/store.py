"""Tokens on disk: Parquet, one row an image, readable by pandas as it is.

Columns: ``image`` (name), ``height``, ``width``, ``vectors`` (list of float32 vectors), ``boxes`` (list of ``x, y, w, h`` in
[0, 1]), ``areas``, ``labels`` (zlib-compressed int32 label map in row order), ``tree_parents``, ``tree_strengths``. The schema's
metadata holds, under ``subobject``, the format version and how the tokens were made.
"""

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from subobject.files import atomic_path
from subobject.structures import MergeTree, Segmentation, Tokens

FORMAT_VERSION = 1


class StoredTokens(NamedTuple):
    """Tokens of the images ``names``, and ``source``: how they were made (segmenter, embedder, budget)."""

    names: list[str]
    tokens: Tokens
    source: dict[str, Any]


def write_tokens(path: str | Path, names: list[str], tokens: Tokens, source: dict[str, Any]) -> None:
    """Write the tokens of a batch; the file appears complete or not at all.

    Args:
        path: File to write.
        names: One name an image.
        tokens: Tokens of those images.
        source: How they were made; kept as JSON in the file's metadata.
    """
    rows = [_row(name, one) for name, one in zip(names, tokens, strict=True)]
    metadata = {"subobject": json.dumps({"format_version": FORMAT_VERSION, "source": source})}
    table = pa.Table.from_pylist(rows, schema=_schema(tokens.vectors.shape[1]).with_metadata(metadata))
    with atomic_path(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_tokens(path: str | Path) -> StoredTokens:
    """Read a file that ``write_tokens`` wrote.

    Raises:
        ValueError: If the file is missing, damaged, or not a token file of this version.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a Parquet file, or it is damaged: write it again with `subobject tokenize`") from error
    header = json.loads((table.schema.metadata or {}).get(b"subobject", b"{}"))
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path} is not a token file of format {FORMAT_VERSION}: write it again with `subobject tokenize`")
    rows = table.to_pylist()
    try:
        segmentations = [_segmentation(row) for row in rows]
        vectors = [np.array(row["vectors"], dtype=np.float32) for row in rows]
        tokens = Tokens.from_segmentations(vectors, segmentations)
    except (KeyError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): write it again with `subobject tokenize`") from error
    return StoredTokens([row["image"] for row in rows], tokens, header["source"])


def _schema(dim: int) -> pa.Schema:
    return pa.schema(
        [
            ("image", pa.string()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("vectors", pa.list_(pa.list_(pa.float32(), dim))),
            ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
            ("areas", pa.list_(pa.int64())),
            ("labels", pa.binary()),
            ("tree_parents", pa.list_(pa.int32())),
            ("tree_strengths", pa.list_(pa.float32())),
        ]
    )


def _row(name: str, tokens: Tokens) -> dict[str, Any]:
    segmentation = tokens.segmentation
    height, width = segmentation.size_hw
    return {
        "image": name,
        "height": height,
        "width": width,
        "vectors": list(tokens.vectors),
        "boxes": list(tokens.boxes),
        "areas": tokens.areas,
        "labels": zlib.compress(np.ascontiguousarray(segmentation.labels).tobytes(), 1),
        "tree_parents": segmentation.tree.parents,
        "tree_strengths": segmentation.tree.strengths,
    }


def _segmentation(row: dict[str, Any]) -> Segmentation:
    labels = np.frombuffer(zlib.decompress(row["labels"]), dtype=np.int32).reshape(row["height"], row["width"])
    tree = MergeTree(np.array(row["tree_parents"], np.int32), np.array(row["tree_strengths"], np.float32))
    return Segmentation.from_labels(labels, tree)
