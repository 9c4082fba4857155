"""Overlapping masks as a few label maps: the form in which all annotations are warped, cropped and turned into targets."""

from collections.abc import Iterable

import numpy as np


def stack_masks(masks: Iterable[np.ndarray], size_hw: tuple[int, int]) -> np.ndarray:
    """Lay masks into as few layers as the first fit needs, so that those of one layer do not overlap.

    Args:
        masks: ``(H, W)`` bool each; empty ones are left out.
        size_hw: Height and width.

    Returns:
        ``(L, H, W)`` int32, the index of the mask or -1; one empty layer where there is no mask.

    Example:
        >>> stack_masks([np.array([[1, 1, 0]], bool), np.array([[0, 1, 1]], bool), np.array([[0, 0, 1]], bool)], (1, 3)).tolist()
        [[[0, 0, 2]], [[-1, 1, 1]]]
    """
    layers: list[np.ndarray] = []
    for index, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            continue
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        inside = mask[window]
        layer = next((one for one in layers if np.all(one[window][inside] < 0)), None)
        if layer is None:
            layer = np.full(size_hw, -1, dtype=np.int32)
            layers.append(layer)
        layer[window][inside] = index
    return np.stack(layers) if layers else np.full((1, *size_hw), -1, dtype=np.int32)
