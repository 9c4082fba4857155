"""Cutting an image into overlapping tiles and joining what a network says about them, as pure functions of arrays.

A *span* is a half-open range of rows or columns; a grid of tiles is the product of row spans and column spans. Every tile is
weighted by a product of two ramps that are zero within a margin of its inner edges, where the network lacks context, and that sum
to 1 over the tiles at every pixel. A boundary that all tiles around it see keeps its probability, at a seam as elsewhere.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

Span = tuple[int, int]


def cover_spans(length: int, tile: int, overlap: int, multiple: int) -> list[Span]:
    """Cover a side with spans of a fixed length; all start at multiples of ``multiple``, as a network with strides needs.

    Args:
        length: Of the side, in pixels.
        tile: Length of each span, a multiple of ``multiple``; the last span is cut off at ``length``.
        overlap: Least overlap of neighbours, a multiple of ``multiple``, less than ``tile``.
        multiple: Stride of the network in pixels.

    Example:
        >>> cover_spans(100, 48, 16, 8)
        [(0, 48), (32, 80), (56, 100)]
    """
    last = max(0, -(-(length - tile) // multiple) * multiple)
    starts = [*range(0, last, tile - overlap), last]
    return [(start, min(start + tile, length)) for start in starts]


def split_spans(length: int, count: int, overlap: float) -> list[Span]:
    """Split a side into equal parts and widen each, so that neighbours overlap by ``overlap`` of a part.

    Args:
        length: Of the side, in pixels.
        count: Number of spans; fewer if the side has fewer pixels.
        overlap: Fraction of a part, at least 2 pixels.

    Example:
        >>> split_spans(100, 2, 0.2)
        [(0, 55), (45, 100)]
    """
    edges = np.unique(np.linspace(0, length, count + 1).round().astype(int)).tolist()
    half = max(1, round(length / count * overlap / 2))
    return [(max(0, start - half), min(length, stop + half)) for start, stop in pairwise(edges)]


def blend_weights(spans: list[Span], length: int) -> list[np.ndarray]:
    """Weigh the pixels of overlapping spans.

    Let ``o`` be the least overlap of neighbours. From an inner edge a weight is 0 for ``3 o / 8`` pixels, rises over the next
    ``o / 4`` and stays; weights are then divided by their sum over the spans.

    Args:
        spans: In order, covering ``[0, length)``, neighbours overlapping.
        length: Of the side, in pixels.

    Returns:
        One array a span, float32, of the span's length; at every pixel of the side they sum to 1.
    """
    overlap = min((left[1] - right[0] for left, right in pairwise(spans)), default=0)
    margin = overlap * 3 // 8
    ramp = max(1, overlap - 2 * margin)
    weights = []
    for start, stop in spans:
        centres = np.arange(start, stop) + 0.5
        before = centres - start if start > 0 else np.full(stop - start, np.inf)
        after = stop - centres if stop < length else np.full(stop - start, np.inf)
        weights.append(np.clip(np.minimum(before, after) - margin, 0, ramp))
    total = np.zeros(length)
    for (start, stop), weight in zip(spans, weights, strict=True):
        total[start:stop] += weight
    return [(weight / total[start:stop]).astype(np.float32) for (start, stop), weight in zip(spans, weights, strict=True)]


def join_tiles(
    size_hw: tuple[int, int], rows: list[Span], columns: list[Span], predict: Callable[[slice, slice], np.ndarray]
) -> np.ndarray:
    """Predict every tile of a grid and join the results without seams; one tile is held at a time.

    Args:
        size_hw: Height and width of the image.
        rows: Row spans of the grid.
        columns: Column spans of the grid.
        predict: Row slice and column slice to the probabilities of that tile, float32 of its size.

    Returns:
        ``(H, W)`` float32.
    """
    joined = np.zeros(size_hw, dtype=np.float32)
    row_weights, column_weights = blend_weights(rows, size_hw[0]), blend_weights(columns, size_hw[1])
    for (top, bottom), down in zip(rows, row_weights, strict=True):
        for (left, right), across in zip(columns, column_weights, strict=True):
            tile = predict(slice(top, bottom), slice(left, right))
            joined[top:bottom, left:right] += tile * (down[:, None] * across)
    return joined


def merge_levels(levels: list[np.ndarray]) -> np.ndarray:
    """Merge the levels of a pyramid: the mean of their probabilities, in place in the first, ``(H, W)`` float32 each.

    The mean of levels is the published rule; there every tile also had its rim set to zero before the sum, which weakens the
    boundaries along seams and along the border of the image. Here each level is joined by ``join_tiles`` first.
    """
    merged = levels[0]
    for level in levels[1:]:
        merged += level
    merged /= len(levels)
    return merged
