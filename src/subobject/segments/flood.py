"""Boundary map to basins: components, seeds and bucket-queue watershed, as compiled array functions.

Every function is sequential and uses integer order alone to break ties, so the same input gives the same bytes on every run.
Memory beyond the inputs and the returned label map is two bytes a pixel for the seeds, the queues of the flood, which hold
its front only. The flood is Meyer's algorithm (*Un algorithme optimal pour la ligne de partage des eaux*,
1991) on 256 levels.
"""

import cv2
import numpy as np
from numba import njit

LEVELS = 256

_OUTSIDE = np.int32(-1)
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_CHUNK = 64  # a power of two


def quantise(probability: np.ndarray) -> np.ndarray:
    """Round a boundary map, ``(H, W)`` float32 in [0, 1], to 256 levels; returns ``(H, W)`` uint8."""
    return _quantise(np.ascontiguousarray(probability))


def components(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Find the 4-connected components of equal values.

    Args:
        values: ``(H, W)``, any integer or bool dtype.

    Returns:
        Component of each pixel, ``(H, W)`` int32, numbered by first pixel in raster order, and their number.
    """
    labels = _link(_checked(values))
    return labels, int(_number(labels))


def seeds_below(probability: np.ndarray, levels: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
    """Take the 4-connected components of the pixels below a threshold as seeds, as EPOC does.

    Where no pixel lies below the threshold, those of the lowest level are the seeds.

    Args:
        probability: ``(H, W)`` float32 in [0, 1].
        levels: The quantised map, ``(H, W)`` uint8.
        threshold: Boundary probability.

    Returns:
        Seed of each pixel, ``(H, W)`` int32, -1 for none, numbered by first pixel in raster order, and their number.
    """
    inside = probability < threshold
    if not inside.any():
        inside = levels == levels.min()
    labels = _link(_checked(inside))
    _drop(inside, labels)
    return labels, int(_number(labels))


def seeds_at_minima(levels: np.ndarray) -> tuple[np.ndarray, int]:
    """Take the regional minima as seeds: 4-connected plateaus without a lower 4-neighbour.

    Args:
        levels: ``(H, W)`` uint8.

    Returns:
        Seed of each pixel, ``(H, W)`` int32, -1 for none, numbered by first pixel in raster order, and their number; at
        least 1.
    """
    levels = _checked(levels)
    eroded = cv2.erode(levels, _CROSS)
    lowest = np.equal(eroded, levels, out=eroded.view(np.bool_))
    labels = _link(lowest)
    _drop_slopes(levels, lowest, labels)
    return labels, int(_number(labels))


def flood(levels: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Grow seeds over the image, lowest level first, and first in first out within a level.

    Args:
        levels: ``(H, W)`` uint8.
        seeds: ``(H, W)`` int32, -1 for none, with at least one seed. Overwritten by the result.

    Returns:
        ``seeds``, with every pixel labelled. Where each seed is 4-connected, so is each segment.

    Raises:
        ValueError: If the shapes differ or no pixel is a seed.
    """
    if levels.shape != seeds.shape:
        raise ValueError(f"seeds: expected shape {levels.shape}, got {seeds.shape}")
    if seeds.max() < 0:
        raise ValueError("seeds: expected at least one pixel with a label of 0 or more")
    _flood(_checked(levels), seeds)
    return seeds


def _checked(values: np.ndarray) -> np.ndarray:
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"expected shape (H, W) with at least one pixel, got {values.shape}")
    if values.size >= 2**31:
        raise ValueError(f"the image has {values.size} pixels: fewer than 2**31 are supported")
    return np.ascontiguousarray(values)


@njit(cache=True, nogil=True)
def _quantise(probability):
    height, width = probability.shape
    levels = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            levels[y, x] = np.uint8(probability[y, x] * np.float32(255) + np.float32(0.5))
    return levels


@njit(cache=True, nogil=True)
def _root(parents, p):
    while parents[p] != p:
        parents[p] = parents[parents[p]]
        p = parents[p]
    return p


@njit(cache=True, nogil=True)
def _link(values):
    """First pass of component labelling: each pixel points to an earlier pixel of its component, the first one to itself."""
    height, width = values.shape
    labels = np.empty((height, width), np.int32)
    parents = labels.reshape(-1)
    p = 0
    for y in range(height):
        value, above, pointer = values[y, 0], values[max(y - 1, 0), 0], np.int64(p)
        if y > 0 and above == value:
            pointer = np.int64(parents[p - width])
        parents[p] = pointer
        p += 1
        for x in range(1, width):
            before, before_above = value, above
            value, above = values[y, x], values[max(y - 1, 0), x]
            if value == before:
                # Left and up are already joined where the pixel between them has the same value.
                if above == value and before_above != value and y > 0:
                    a, b = _root(parents, p - 1), _root(parents, p - width)
                    pointer = np.int64(min(a, b))
                    parents[a] = pointer
                    parents[b] = pointer
            elif above == value and y > 0:
                pointer = np.int64(parents[p - width])
            else:
                pointer = np.int64(p)
            parents[p] = pointer
            p += 1
    return labels


@njit(cache=True, nogil=True)
def _drop(inside, labels):
    """Unlabel the components outside a mask."""
    height, width = inside.shape
    for y in range(height):
        for x in range(width):
            if not inside[y, x]:
                labels[y, x] = _OUTSIDE


@njit(cache=True, nogil=True)
def _drop_slopes(levels, inside, labels):
    """Unlabel the components of pixels without a lower neighbour that border on a pixel of their level with one."""
    height, width = levels.shape
    parents = labels.reshape(-1)
    p = -1
    for y in range(height):
        for x in range(width):
            p += 1
            if not inside[y, x]:
                parents[p] = _OUTSIDE
                continue
            root = parents[p]
            # What a pixel points to comes before it and already points to the root, or is unlabelled with it.
            if root != p and root >= 0:
                root = parents[root]
                if root >= 0:
                    root = parents[root]
            parents[p] = root
            level = levels[y, x]
            if root >= 0 and (
                (x > 0 and levels[y, x - 1] == level and not inside[y, x - 1])
                or (x + 1 < width and levels[y, x + 1] == level and not inside[y, x + 1])
                or (y > 0 and levels[y - 1, x] == level and not inside[y - 1, x])
                or (y + 1 < height and levels[y + 1, x] == level and not inside[y + 1, x])
            ):
                parents[root] = _OUTSIDE
                parents[p] = _OUTSIDE


@njit(cache=True, nogil=True)
def _number(labels):
    """Second pass of component labelling: replace pointers by numbers in raster order; -1 stays."""
    parents = labels.reshape(-1)
    count = 0
    for p in range(parents.size):
        target = parents[p]
        if target == p:
            # Numbers are kept apart from pointers as -2, -3, ... until the end.
            parents[p] = -2 - count
            count += 1
        elif target >= 0:
            parents[p] = parents[target]
    for p in range(parents.size):
        parents[p] = -2 - parents[p]
    return count


@njit(cache=True, nogil=True)
def _flood(levels, labels):
    """Flood in place.

    A pixel without a label holds ``-1 - level`` meanwhile, so that the walk touches one array. Each level has a queue made of
    chunks of ``_CHUNK`` entries, the last of which leads to the next chunk; chunks that have been read are used again, so the
    queues stay as small as the front. Appending is written out in both places, because calls that pass arrays in the inner
    loop count references and triple the time.
    """
    height, width = levels.shape
    level_of = levels.reshape(-1)
    label_of = labels.reshape(-1)
    size = label_of.size
    last = _CHUNK - 1
    # Reserved, but touched only as far as the queues grow.
    queue = np.empty((size // last + 2 * LEVELS + 2) * _CHUNK, np.int32)
    tail = np.arange(LEVELS) * _CHUNK
    unused, top = np.int64(-1), np.int64(LEVELS * _CHUNK)
    p = np.int64(0)
    for y in range(height):
        for x in range(width):
            if label_of[p] < 0:
                label_of[p] = np.int32(-1) - np.int32(level_of[p])
            elif (
                label_of[p - (x > 0)]
                | label_of[p + (x + 1 < width)]
                | label_of[p - width * (y > 0)]
                | label_of[p + width * (y + 1 < height)]
            ) < 0:  # the sign of an or: some neighbour has no label
                own = np.int64(level_of[p])
                end = tail[own]
                if end & last == last:
                    queue[end] = top
                    end = top
                    top += _CHUNK
                queue[end] = p
                tail[own] = end + 1
            p += 1
    for level in range(LEVELS):
        at = np.int64(level * _CHUNK)
        while at != tail[level]:
            if at & last == last:
                following = np.int64(queue[at])
                queue[at] = unused
                unused = np.int64(at - last)
                at = following
                continue
            p = np.int64(queue[at])
            at += 1
            label = label_of[p]
            column = np.int64(np.uint32(p) % np.uint32(width))
            for direction in range(4):
                if direction == 0:
                    if p < width:
                        continue
                    q = p - width
                elif direction == 1:
                    if column == 0:
                        continue
                    q = p - 1
                elif direction == 2:
                    if column + 1 == width:
                        continue
                    q = p + 1
                else:
                    if p + width >= size:
                        continue
                    q = p + width
                held = label_of[q]
                if held < 0:
                    label_of[q] = label
                    reached = max(level, -1 - held)
                    end = tail[reached]
                    if end & last == last:
                        if unused >= 0:
                            fresh = unused
                            unused = np.int64(queue[fresh + last])
                        else:
                            fresh = top
                            top += _CHUNK
                        queue[end] = fresh
                        end = fresh
                    queue[end] = q
                    tail[reached] = end + 1
