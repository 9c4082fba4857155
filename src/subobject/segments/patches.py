"""Square patches: the partition that vision transformers use, as a segmenter. Merge trees come from the colour gradient."""

import math

import numpy as np

from subobject.segments.colour import colour_gradient
from subobject.segments.partition import checked_budget, segmentation_from_labels
from subobject.structures import Boundaries, Segmentation


def grid_labels(size_hw: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Divide an image into a grid whose cells differ in each side by at most a pixel.

    Args:
        size_hw: Height and width.
        rows: At least 1; at most the height is used.
        columns: At least 1; at most the width is used.

    Returns:
        ``(H, W)`` int32, numbered row by row.
    """
    height, width = size_hw
    rows, columns = min(rows, height), min(columns, width)
    row = np.arange(height, dtype=np.int64) * rows // height
    column = np.arange(width, dtype=np.int64) * columns // width
    return (row[:, None] * columns + column).astype(np.int32)


def tile_labels(size_hw: tuple[int, int], side: int) -> np.ndarray:
    """Divide an image into squares of ``side`` pixels; the last row and column are smaller. Returns ``(H, W)`` int32."""
    height, width = size_hw
    columns = -(-width // side)
    return (np.arange(height)[:, None] // side * columns + np.arange(width) // side).astype(np.int32)


class Patches:
    """An ``n x n`` grid of patches that covers an image of any size.

    Args:
        grid: Patches a side, ``n``, where a call gives no budget. A budget ``K`` takes the largest ``n`` with ``n * n <= K``.
    """

    needs_boundaries = False

    def __init__(self, *, grid: int = 16) -> None:
        if grid < 1:
            raise ValueError(f"grid is {grid}: use 1 or more")
        self.grid = grid

    def __call__(self, image: np.ndarray, boundaries: Boundaries | None = None, max_segments: int | None = None) -> Segmentation:
        """Segment one image ``(H, W, 3)`` uint8 RGB; the boundary map is not used."""
        side = math.isqrt(checked_budget(max_segments, self.grid**2))
        return segmentation_from_labels(grid_labels(image.shape[:2], side, side), colour_gradient(image))


class Tiles:
    """Patches of ``p x p`` pixels; those at the right and lower edges are smaller, and a budget merges neighbours.

    Args:
        side: Pixels a side, ``p``.
    """

    needs_boundaries = False

    def __init__(self, *, side: int = 32) -> None:
        if side < 1:
            raise ValueError(f"side is {side}: use 1 or more pixels")
        self.side = side

    def __call__(self, image: np.ndarray, boundaries: Boundaries | None = None, max_segments: int | None = None) -> Segmentation:
        """Segment one image ``(H, W, 3)`` uint8 RGB; the boundary map is not used."""
        return segmentation_from_labels(tile_labels(image.shape[:2], self.side), colour_gradient(image), max_segments)
