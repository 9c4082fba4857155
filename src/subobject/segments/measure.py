"""Areas, boxes, mean colours and borders of the segments of a label map, in one compiled pass.

Work is linear in the pixels; memory is O(segments).
"""

from typing import NamedTuple

import numpy as np
from numba import njit, uintp

from subobject.segments.hashing import empty_table, number_pairs
from subobject.segments.rows import flag_row, flagged


class Measurements(NamedTuple):
    """What one pass over a label map finds.

    Attributes:
        areas: Pixels of each segment, ``(N,)`` int64.
        boxes: Tight half-open boxes ``(x0, y0, x1, y1)`` in pixels, ``(N, 4)`` int32.
        colours: Mean of the image over each segment, ``(N, 3)`` float32 in [0, 255], or None without an image.
        pairs: Neighbouring segments ``i < j``, in the order in which they are met, ``(E, 2)`` int32: row by
            row, those side by side before those one above the other.
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
    picture = np.empty((len(labels), 0, 3), np.uint8) if image is None else np.ascontiguousarray(image)
    areas, boxes, colours, pairs, lengths, sums = _measure(
        np.ascontiguousarray(labels), num_segments, np.ascontiguousarray(strength), picture
    )
    if areas.sum() != labels.size:
        if labels.min() < 0 or labels.max() >= num_segments:
            raise ValueError(f"labels: expected values 0 .. {num_segments - 1}, got {labels.min()} .. {labels.max()}")
        raise ValueError("labels: expected every segment to be 4-connected")
    means = None if image is None else (colours / areas[:, None]).astype(np.float32)
    return Measurements(areas, boxes, means, pairs, lengths, (sums / lengths).astype(np.float32))


@njit(cache=True, nogil=True)
def _measure(labels, num_segments, strength, image):
    """Measure; areas do not add up to the image where a label is out of range or more segments touch than can in the plane."""
    height, width = labels.shape
    areas = np.zeros(num_segments, np.int64)
    boxes = np.zeros((num_segments, 4), np.int32)
    colours = np.zeros((num_segments, 3), np.int64)
    # 4-adjacent 4-connected segments form a planar graph: fewer than 3 N borders.
    pairs = np.empty((3 * num_segments, 2), np.int32)
    lengths = np.zeros(len(pairs), np.int64)
    sums = np.zeros(len(pairs), np.float64)
    table = empty_table(len(pairs))
    count = 0
    flags, words = flag_row(width)
    found, borders = np.empty(width + 8, np.int32), np.empty(width, np.int32)
    for y in range(height):
        row = labels[y]
        if not _within(row, num_segments):
            break
        # Neighbours side by side, then those one above the other.
        for down in range(min(2, height - y)):
            here, there = labels[y, : width - 1 + down], labels[y + down, 1 - down :]
            flags[width - 1] = 0
            for x in range(uintp(here.size)):
                flags[x] = here[x] != there[x]
            places = found[: flagged(words, found)]
            count = number_pairs(here, there, places, table, pairs, count, borders)
            if count < 0:
                areas[:] = 0
                return areas, boxes, colours, pairs, lengths, sums
            _add_borders(places, borders, strength[y], strength[y + down, 1 - down :], lengths, sums)
            if down == 0:
                found[places.size] = width - 1
                _add_runs(row, y, found[: places.size + 1], areas, boxes)
                if image.shape[1] > 0:
                    _add_colours(row, found[: places.size + 1], image[y], colours)
    return areas, boxes, colours, pairs[:count], lengths[:count], sums[:count]


@njit(cache=True, nogil=True)
def _within(row, num_segments):
    outside = np.uint8(0)
    for x in range(uintp(row.size)):
        outside |= np.uint8(row[x] < 0) | np.uint8(row[x] >= num_segments)
    return outside == 0


@njit(cache=True, nogil=True)
def _add_borders(places, borders, here, there, lengths, sums):
    for k in range(uintp(places.size)):
        x, border = uintp(places[k]), uintp(borders[k])
        lengths[border] += 1
        sums[border] += max(here[x], there[x])


@njit(cache=True, nogil=True)
def _add_runs(row, y, lasts, areas, boxes):
    """Add the runs of a row, given by their last pixels."""
    start = uintp(0)
    for k in range(uintp(lasts.size)):
        segment, stop = uintp(row[start]), uintp(lasts[k] + 1)
        if areas[segment] == 0:
            boxes[segment, 0] = start
            boxes[segment, 1] = y
        areas[segment] += np.int64(stop - start)
        boxes[segment, 0] = min(boxes[segment, 0], np.int32(start))
        boxes[segment, 2] = max(boxes[segment, 2], np.int32(stop))
        boxes[segment, 3] = y + 1
        start = stop


@njit(cache=True, nogil=True)
def _add_colours(row, lasts, pixels, colours):
    start = uintp(0)
    for k in range(uintp(lasts.size)):
        segment, stop = uintp(row[start]), uintp(lasts[k] + 1)
        red, green, blue = np.uint32(0), np.uint32(0), np.uint32(0)
        for x in range(start, stop):
            red = np.uint32(red + pixels[x, 0])
            green = np.uint32(green + pixels[x, 1])
            blue = np.uint32(blue + pixels[x, 2])
        colours[segment, 0] += red
        colours[segment, 1] += green
        colours[segment, 2] += blue
        start = stop
