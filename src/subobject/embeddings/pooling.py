"""Pooling of a feature map over segments through the label map: pure array functions, never a mask a segment.

A map of ``h x w`` cells covers the whole image: cell ``j`` of a row spans columns ``[j W / w, (j + 1) W / w)``, and its value
stands at the centre (half-pixel convention). A pixel reads the map at its own centre, bilinearly, or takes the cell it lies in.
Both are linear, so the values read by all pixels of a segment add up to cell weights times cell values, and the map is never
enlarged to the size of the image.
"""

from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np

Pool = Literal["mean", "max", "gem"]
POOLS: tuple[Pool, ...] = ("mean", "max", "gem")
SMALLEST = 1e-6
"""Values below it count as it in a generalised mean."""


@dataclass(frozen=True, eq=False)
class CellWeights:
    """How much each cell counts for each segment, kept inside a window a segment.

    Attributes:
        windows: Half-open windows of cells ``(x0, y0, x1, y1)``, ``(N, 4)`` int32.
        offsets: Where the values of each window start, ``(N + 1,)`` int64.
        values: Weights row by row, ``(offsets[N],)`` float32; those of a segment add up to its area in pixels.
    """

    windows: np.ndarray
    offsets: np.ndarray
    values: np.ndarray


def cell_weights(labels: np.ndarray, boxes: np.ndarray, grid_hw: tuple[int, int], *, bilinear: bool = True) -> CellWeights:
    """Add up what the pixels of each segment read from each cell, in one pass over the label map.

    Args:
        labels: Segment of each pixel, ``(H, W)`` int32, values in ``[0, N)``.
        boxes: Tight half-open pixel boxes, ``(N, 4)`` integer.
        grid_hw: Rows and columns of cells.
        bilinear: Whether a pixel reads the four nearest cells by distance, or the one it lies in.
    """
    (height, width), (rows, columns) = labels.shape, grid_hw
    top, bottom = _neighbours(height, rows, bilinear)
    left, right = _neighbours(width, columns, bilinear)
    windows = np.empty((len(boxes), 4), dtype=np.int32)
    windows[:, 0], windows[:, 1] = left[boxes[:, 0]], top[boxes[:, 1]]
    windows[:, 2], windows[:, 3] = right[boxes[:, 2] - 1] + 1, bottom[boxes[:, 3] - 1] + 1
    sides = (windows[:, 2:] - windows[:, :2]).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(sides.prod(axis=1))])
    values = np.zeros(offsets[-1], dtype=np.float32)
    down, across = _shares(height, rows), _shares(width, columns)  # Of no effect where both neighbours are the same cell.
    _add_up(labels, windows, offsets, top, bottom, down, left, right, across, values)
    return CellWeights(windows, offsets, values)


def pool(features: np.ndarray, weights: CellWeights, kind: Pool = "mean", power: float = 3.0) -> np.ndarray:
    """Pool the cells of each segment.

    Args:
        features: ``(C, h, w)`` float32.
        weights: Of the grid ``(h, w)``.
        kind: ``mean``; ``gem``, the generalised mean ``mean(x ** power) ** (1 / power)`` of values at least ``SMALLEST``
            (Radenovic et al., *Fine-tuning CNN image retrieval with no human annotation*, TPAMI 2019); ``max``, the largest
            of the cells with a weight.
        power: Exponent of ``gem``, positive.

    Returns:
        ``(N, C)`` float32.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind not in POOLS:
        raise ValueError(f"unknown pooling {kind!r}: use {', '.join(POOLS)}")
    cells = np.ascontiguousarray(features.transpose(1, 2, 0), dtype=np.float32)
    if kind == "gem":
        cells = np.maximum(cells, np.float32(SMALLEST)) ** np.float32(power)
    pooled = np.empty((len(weights.windows), len(features)), dtype=np.float32)
    for i, (x0, y0, x1, y1) in enumerate(weights.windows.tolist()):
        window = cells[y0:y1, x0:x1].reshape(-1, len(features))
        share = weights.values[weights.offsets[i] : weights.offsets[i + 1]]
        pooled[i] = window[share > 0].max(axis=0) if kind == "max" else share @ window / share.sum()
    return pooled ** np.float32(1 / power) if kind == "gem" else pooled


def _position(length: int, cells: int) -> np.ndarray:
    """Return where the centres of pixels lie among the centres of cells, ``(length,)`` float64 in ``[0, cells - 1]``."""
    return np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)


def _neighbours(length: int, cells: int, bilinear: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last cell that each pixel reads along one axis, ``(length,)`` int32 each."""
    if not bilinear:
        own = ((2 * np.arange(length) + 1) * cells // (2 * length)).astype(np.int32)
        return own, own
    first = np.floor(_position(length, cells)).astype(np.int32)
    return first, np.minimum(first + 1, cells - 1).astype(np.int32)


def _shares(length: int, cells: int) -> np.ndarray:
    """Return how much of the second of its two cells each pixel reads, ``(length,)`` float32 in [0, 1)."""
    position = _position(length, cells)
    return (position - np.floor(position)).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _add_up(labels, windows, offsets, top, bottom, down, left, right, across, values):  # pragma: no cover - compiled
    height, width = labels.shape
    for y in range(height):
        lower = down[y]
        for x in range(width):
            segment = labels[y, x]
            x0, y0 = windows[segment, 0], windows[segment, 1]
            columns = windows[segment, 2] - x0
            above = offsets[segment] + (top[y] - y0) * columns - x0
            below = offsets[segment] + (bottom[y] - y0) * columns - x0
            share = across[x]
            values[above + left[x]] += (1 - lower) * (1 - share)
            values[above + right[x]] += (1 - lower) * share
            values[below + left[x]] += lower * (1 - share)
            values[below + right[x]] += lower * share
