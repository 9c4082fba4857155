"""Where a segment lies and what shape it has, as numbers to join to a vector: its token box and an ``r x r`` shape code."""

import numpy as np

from subobject.embeddings.sequence import PackedSegments, gather
from subobject.structures import Segmentation


def pack_coarsely(image: np.ndarray, segmentation: Segmentation, side: int) -> PackedSegments:
    """Average an image over at most ``side x side`` cells of each box; smaller boxes keep their pixels."""
    boxes = segmentation.boxes
    sides = np.stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], axis=1)
    return gather(image, segmentation.labels, boxes, np.minimum(sides, side).astype(np.int32))


def shape_codes(packed: PackedSegments, side: int) -> np.ndarray:
    """Compute the share of each of ``side x side`` cells of its box that a segment covers.

    Args:
        packed: What ``pack_coarsely`` made with the same ``side``.
        side: Cells along each side of a box, ``r``.

    Returns:
        ``(N, r * r)`` float32 in [0, 1], row by row; the mean of a row times the area of the box is the area of the segment.
    """
    spread = [_spread(length, side) for length in range(side + 1)]
    codes = np.empty((len(packed), side * side), dtype=np.float32)
    for i, (h, w) in enumerate(packed.sizes.tolist()):
        codes[i] = (spread[h] @ packed[i][:, 3].reshape(h, w) @ spread[w].T).ravel()
    return np.clip(codes, 0, 1, out=codes)


def _spread(length: int, side: int) -> np.ndarray:
    """Return the matrix that averages ``length`` equal intervals over ``side`` >= ``length`` equal ones, ``(side, length)``."""
    edges = np.arange(side + 1)[:, None] / side * length
    start = np.arange(length)
    overlap = np.minimum(edges[1:], start + 1) - np.maximum(edges[:-1], start)
    return (np.maximum(overlap, 0) * side / max(length, 1)).astype(np.float32)
