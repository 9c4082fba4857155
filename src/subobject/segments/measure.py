"""Areas, boxes, mean colours and borders of the segments of a label map, in one compiled pass.

Work is linear in the pixels; memory is O(segments).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from subobject.segments.hashing import find, pair_key


class Measurements(NamedTuple):
    """What one pass over a label map finds.

    Attributes:
        areas: Pixels of each segment, ``(N,)`` int64.
        boxes: Tight half-open boxes ``(x0, y0, x1, y1)`` in pixels, ``(N, 4)`` int32.
        colours: Mean of the image over each segment, ``(N, 3)`` float32 in [0, 255], or None without an image.
        pairs: Neighbouring segments ``i < j``, in the order in which a raster scan meets them, ``(E, 2)`` int32.
        lengths: Pairs of 4-adjacent pixels along each border, ``(E,)`` int64, at least 1.
        strengths: Mean boundary strength along each border, ``(E,)`` float32.
    """

    areas: np.ndarray
    boxes: np.ndarray
    colours: np.ndarray | None
    pairs: np.ndarray
    lengths: np.ndarray
    strengths: np.ndarray


def measure(labels: np.ndarray, num_segments: int, strength: np.ndarray, image: np.ndarray | None = None) -> Measurements:
    """Measure segments and their borders in one pass.

    The strength between two neighbouring pixels is the larger of theirs.

    Args:
        labels: ``(H, W)`` int32, a 4-connected partition with values in ``[0, num_segments)``.
        num_segments: ``N``.
        strength: Boundary strength of each pixel, ``(H, W)`` float32.
        image: ``(H, W, 3)`` uint8, for the mean colours.

    Raises:
        ValueError: If shapes or labels do not fit, or more segments touch than can in the plane, so that some label is not
            4-connected.
    """
    if strength.shape != labels.shape or (image is not None and image.shape != (*labels.shape, 3)):
        sizes = f"{strength.shape}" if image is None else f"{strength.shape} and {image.shape}"
        raise ValueError(f"strength and image: expected the size {labels.shape} of the labels, got {sizes}")
    if labels.min() < 0 or labels.max() >= num_segments:
        raise ValueError(f"labels: expected values 0 .. {num_segments - 1}, got {labels.min()} .. {labels.max()}")
    picture = np.empty((0, 0, 3), np.uint8) if image is None else np.ascontiguousarray(image)
    areas, boxes, colours, pairs, lengths, sums = _measure(
        np.ascontiguousarray(labels), num_segments, np.ascontiguousarray(strength), picture
    )
    if len(lengths) > 3 * num_segments:
        raise ValueError("labels: expected every segment to be 4-connected")
    means = None if image is None else (colours / areas[:, None]).astype(np.float32)
    return Measurements(areas, boxes, means, pairs, lengths, (sums / lengths).astype(np.float32))


@njit(cache=True, nogil=True)
def _measure(labels, num_segments, strength, image):
    height, width = labels.shape
    coloured = image.size > 0
    areas = np.zeros(num_segments, np.int64)
    boxes = np.zeros((num_segments, 4), np.int32)
    colours = np.zeros((num_segments, 3), np.int64)
    # 4-adjacent 4-connected segments form a planar graph: fewer than 3 N borders.
    limit = 3 * num_segments + 1
    capacity = 16
    while capacity < 2 * limit:
        capacity *= 2
    keys = np.empty(capacity, np.int64)
    slots = np.full(capacity, np.int32(-1), np.int32)
    pairs = np.empty((limit, 2), np.int32)
    lengths = np.zeros(limit, np.int64)
    sums = np.zeros(limit, np.float64)
    count = 0
    for y in range(height):
        start = 0
        for x in range(width):
            here = labels[y, x]
            right = labels[y, min(x + 1, width - 1)]
            below = labels[min(y + 1, height - 1), x]
            if right == here and below == here and x + 1 < width:
                continue
            for down in range(2):
                there = below if down else right
                if there == here:
                    continue
                key = pair_key(here, there, num_segments)
                at = find(keys, slots, key)
                if slots[at] < 0:
                    if count == limit:
                        return areas, boxes, colours, pairs, lengths, sums
                    keys[at] = key
                    slots[at] = count
                    pairs[count, 0] = min(here, there)
                    pairs[count, 1] = max(here, there)
                    count += 1
                border = slots[at]
                lengths[border] += 1
                sums[border] += max(strength[y, x], strength[y + down, x + 1 - down])
            if right != here or x + 1 == width:
                if areas[here] == 0:
                    boxes[here, 0] = start
                    boxes[here, 1] = y
                areas[here] += x + 1 - start
                boxes[here, 0] = min(boxes[here, 0], start)
                boxes[here, 2] = max(boxes[here, 2], x + 1)
                boxes[here, 3] = y + 1
                if coloured:
                    red, green, blue = 0, 0, 0
                    for inside in range(start, x + 1):
                        red += image[y, inside, 0]
                        green += image[y, inside, 1]
                        blue += image[y, inside, 2]
                    colours[here, 0] += red
                    colours[here, 1] += green
                    colours[here, 2] += blue
                start = x + 1
    return areas, boxes, colours, pairs[:count], lengths[:count], sums[:count]
