"""Boundary map to basins: a watershed in which every pixel drains to its lowest neighbour.

Flooding from a queue by priority (Meyer, 1991) gives a pixel to the neighbour that is flooded first, which is its lowest
neighbour wherever it has a lower one. So no queue is needed: each pixel gets a direction, by comparisons with its neighbours,
and takes the label of the pixel to which it drains. What a queue decides by its order, ties, is decided by position instead.
Basins without a seed are then merged across their lowest passes, which is a minimum spanning forest. The two views of the
watershed are proven to agree in Cousty, Bertrand, Najman and Couprie, *Watershed Cuts: Minimum Spanning Forests and the Drop
of Water Principle*, TPAMI 2009.

Almost all passes go over the image row by row, so work stays linear in the pixels when the image no longer fits the cache; the
same input gives the same bytes on every run. Memory beyond the inputs and the label map is one byte a pixel for the directions,
and eight a run of equal direction while minima are numbered.
"""

import numpy as np
from numba import njit, uintp

from subobject.segments.components import checked_map, label_components, relabel, root
from subobject.segments.hashing import empty_table, number_pairs
from subobject.segments.rows import flag_row, flagged

# Where a pixel drains: to nowhere, being of a minimum or not known yet; to its own seed; or to a neighbour.
_NOWHERE = np.uint8(0)
_SEED = np.uint8(1)
_UP, _LEFT, _RIGHT, _DOWN = np.uint8(2), np.uint8(3), np.uint8(4), np.uint8(5)
_FRESH = np.uint8(4)  # is added to directions that must not spread yet


def quantise(probability: np.ndarray) -> np.ndarray:
    """Round a boundary map, ``(H, W)`` float32 in [0, 1], to 256 levels; returns ``(H, W)`` uint8."""
    return _quantise(np.ascontiguousarray(probability))


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
    seeds = np.full(inside.shape, -1, np.int32)
    return seeds, label_components(checked_map(inside), True, seeds, 0)


def flood_from_minima(levels: np.ndarray) -> tuple[np.ndarray, int]:
    """Divide an image into the basins of its regional minima, the 4-connected plateaus without a lower 4-neighbour.

    A pixel belongs to the basin of its lowest 4-neighbour if that is lower, and otherwise to that of the nearest pixel of its
    plateau that has a lower neighbour, by steps within the plateau. Ties go to the neighbour above, then left, right, below.

    Args:
        levels: ``(H, W)`` uint8.

    Returns:
        Basin of each pixel, ``(H, W)`` int32, each 4-connected and numbered by the first pixel of its minimum in raster order,
        and their number.
    """
    levels = checked_map(levels)
    labels = np.full(levels.shape, -1, np.int32)
    directions = _drain(levels, labels)
    count = label_components(directions, _NOWHERE, labels, 0)
    _follow(directions, labels)
    return labels, count


def flood(levels: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Grow seeds over an image, so that each pixel is reached across the lowest pass.

    Outside of the seeds, pixels drain as in ``flood_from_minima``. A basin without a seed joins the one behind its lowest pass,
    lowest passes first. Ties between passes go to the pair of basins that a raster scan meets first.

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
    levels = checked_map(levels)
    num_seeds = int(seeds.max()) + 1
    directions = _drain(levels, seeds)
    num_basins = label_components(directions, _NOWHERE, seeds, num_seeds)
    _follow(directions, seeds)
    if num_basins > num_seeds:
        pairs, heights = _lowest_passes(levels, seeds, num_seeds, num_basins)
        relabel(seeds, _join_basins(pairs, np.argsort(heights, kind="stable"), num_seeds, num_basins))
    return seeds


@njit(cache=True, nogil=True)
def _quantise(probability):
    height, width = probability.shape
    levels = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            levels[y, x] = np.uint8(probability[y, x] * np.float32(255) + np.float32(0.5))
    return levels


def _drain(levels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the direction in which each pixel drains, ``(H, W)`` uint8; labelled ones are seeds. ``labels`` is scratch."""
    directions = np.empty(levels.shape, np.uint8)
    _descend(levels, labels, directions)
    _enter_plateaus(levels, directions)
    _cross_plateaus(directions, labels)
    return directions


@njit(cache=True, nogil=True)
def _frame(row, framed):
    for x in range(uintp(row.size)):
        framed[x + uintp(1)] = row[x]


@njit(cache=True, nogil=True)
def _descend(levels, labels, directions):
    """Point each pixel to its lowest neighbour, if that is lower."""
    height, width = levels.shape
    framed = np.full(width + 2, np.uint8(255))
    for y in range(height):
        _frame(levels[y], framed)
        _descend_row(levels[max(y - 1, 0)], framed, levels[min(y + 1, height - 1)], labels[y], directions[y])


@njit(cache=True, nogil=True)
def _descend_row(above, row, below, labels, directions):
    for x in range(uintp(directions.size)):
        up, left, here, right, down = above[x], row[x], row[x + uintp(1)], row[x + uintp(2)], below[x]
        direction, lowest = (_UP if up < here else _NOWHERE), min(up, here)
        direction, lowest = (_LEFT if left < lowest else direction), min(left, lowest)
        direction, lowest = (_RIGHT if right < lowest else direction), min(right, lowest)
        direction = _DOWN if down < lowest else direction
        directions[x] = _SEED if labels[x] >= 0 else direction


@njit(cache=True, nogil=True)
def _enter_plateaus(levels, directions):
    """Give a fresh direction to each pixel without one that has a neighbour of its level with one."""
    height, width = levels.shape
    framed, framed_directions = np.zeros(width + 2, np.uint8), np.zeros(width + 2, np.uint8)
    for y in range(height):
        _frame(levels[y], framed)
        _frame(directions[y], framed_directions)
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        _enter_row(levels[above], framed, levels[below], directions[above], framed_directions, directions[below], directions[y])


@njit(cache=True, nogil=True)
def _spreads(direction):
    """Tell whether a direction is known and not fresh."""
    return np.uint8(direction - _SEED) <= _DOWN - _SEED


@njit(cache=True, nogil=True)
def _enter_row(above, row, below, above_directions, row_directions, below_directions, directions):
    for x in range(uintp(directions.size)):
        left, middle, right = x, x + uintp(1), x + uintp(2)
        here, known = row[middle], row_directions[middle]
        fresh = _NOWHERE
        fresh = _FRESH + _DOWN if (below[x] == here) & _spreads(below_directions[x]) else fresh
        fresh = _FRESH + _RIGHT if (row[right] == here) & _spreads(row_directions[right]) else fresh
        fresh = _FRESH + _LEFT if (row[left] == here) & _spreads(row_directions[left]) else fresh
        fresh = _FRESH + _UP if (above[x] == here) & _spreads(above_directions[x]) else fresh
        directions[x] = known if known != _NOWHERE else fresh


@njit(cache=True, nogil=True)
def _cross_plateaus(directions, labels):
    """Spread the fresh directions over their plateaus, breadth first.

    A pixel of a plateau touches pixels without direction in its own plateau only. The queue is a list linked through the
    labels of the pixels in it. A neighbour is always appended, and the end of the list moves if it really is new: a branch
    would be mispredicted half of the time.
    """
    width = directions.shape[1]
    size = directions.size
    direction_of = directions.reshape(-1)
    following = labels.reshape(-1)
    first, last = _queue_fresh(directions, labels)
    if last < 0:
        return
    p = first
    while True:
        direction_of[p] -= _FRESH if direction_of[p] > _DOWN else _NOWHERE
        x = np.int64(np.uint32(p) % np.uint32(width))
        for side in range(4):
            if side == 0:
                q, back = (p - width if p >= width else p), _DOWN
            elif side == 1:
                q, back = p - (x > 0), _RIGHT
            elif side == 2:
                q, back = p + (x + 1 < width), _LEFT
            else:
                q, back = (p + width if p + width < size else p), _UP
            new = direction_of[q] == _NOWHERE
            direction_of[q] = back if new else direction_of[q]
            following[last] = q
            last = q if new else last
        after = np.int64(following[p])
        following[p] = -1
        if p == last:
            break
        p = after


@njit(cache=True, nogil=True)
def _queue_fresh(directions, labels):
    """Link the pixels with fresh directions in raster order; return the first and the last, or -1 twice."""
    height, width = directions.shape
    following = labels.reshape(-1)
    flags, words = flag_row(width)
    found = np.empty(width + 8, np.int32)
    first, last = np.int64(-1), np.int64(-1)
    for y in range(height):
        row = directions[y]
        for x in range(uintp(width)):
            flags[x] = row[x] > _DOWN
        for k in range(flagged(words, found)):
            p = np.int64(y) * width + found[k]
            if last < 0:
                first = p
            else:
                following[last] = p
            last = p
    return first, last


@njit(cache=True, nogil=True)
def _follow(directions, labels):
    """Label each pixel like the one to which it drains.

    A sweep down and a sweep up over the rows settle nearly all: few paths turn both up and down.
    """
    height, width = labels.shape
    leftwards, rightwards = np.zeros(_DOWN + 1, np.int32), np.zeros(_DOWN + 1, np.int32)
    leftwards[_LEFT], rightwards[_RIGHT] = -1, -1
    for y in range(height):
        _copy_labels(labels[max(y - 1, 0)], directions[y], _UP, labels[y])
        _spread_labels(directions[y], leftwards, rightwards, labels[y])
    for y in range(height - 1, -1, -1):
        _copy_labels(labels[min(y + 1, height - 1)], directions[y], _DOWN, labels[y])
        _spread_labels(directions[y], leftwards, rightwards, labels[y])

    step = np.zeros(_DOWN + 1, np.int64)
    step[_UP], step[_LEFT], step[_RIGHT], step[_DOWN] = -width, -1, 1, width
    direction_of = directions.reshape(-1)
    label_of = labels.reshape(-1)
    flags, words = flag_row(width)
    found = np.empty(width + 8, np.int32)
    for y in range(height):
        row = labels[y]
        for x in range(uintp(width)):
            flags[x] = row[x] < 0
        for k in range(flagged(words, found)):
            start = np.int64(y) * width + found[k]
            end = start
            while label_of[end] < 0:
                end += step[direction_of[end]]
            while label_of[start] < 0:
                label_of[start] = label_of[end]
                start += step[direction_of[start]]


@njit(cache=True, nogil=True)
def _copy_labels(other, directions, wanted, labels):
    for x in range(uintp(labels.size)):
        there, here = other[x], labels[x]
        labels[x] = there if directions[x] == wanted else here


@njit(cache=True, nogil=True)
def _spread_labels(directions, leftwards, rightwards, labels):
    """Carry labels along a row, from its left end to pixels that drain left and from its right end to those that drain right.

    ``leftwards`` and ``rightwards`` hold a mask of all bits for their direction and 0 for others: selecting by bits keeps the
    compiler from making branches, and two walks at once hide each other's latency.
    """
    x, z = uintp(0), uintp(labels.size - 1)
    from_left, from_right = np.int32(-1), np.int32(-1)
    for _ in range(labels.size):
        mask = leftwards[directions[x]]
        from_left = (from_left & mask) | (labels[x] & ~mask)
        labels[x] = from_left
        mask = rightwards[directions[z]]
        from_right = (from_right & mask) | (labels[z] & ~mask)
        labels[z] = from_right
        x += uintp(1)
        z -= uintp(1)


def _lowest_passes(levels: np.ndarray, labels: np.ndarray, num_seeds: int, num_basins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return neighbouring basins, of which at most one is a seed's, ``(E, 2)`` int32, and the level of their lowest pass."""
    room = 3 * num_basins  # 4-connected basins form a planar graph; only seeds in several pieces can have more borders
    while True:
        pairs, heights = np.empty((room, 2), np.int32), np.empty(room, np.uint8)
        count = _find_passes(levels, labels, num_seeds, pairs, heights)
        if count >= 0:
            return pairs[:count], heights[:count]
        room *= 2


@njit(cache=True, nogil=True)
def _find_passes(levels, labels, num_seeds, pairs, heights):
    """Fill pairs and heights; return their number, or -1 if there is not enough room."""
    height, width = labels.shape
    heights[:] = 255
    table = empty_table(len(pairs))
    count = 0
    flags, words = flag_row(width)
    found, borders = np.empty(width + 8, np.int32), np.empty(width, np.int32)
    for y in range(height):
        for down in range(min(2, height - y)):
            # Neighbours side by side, then those one above the other.
            here, there = labels[y, : width - 1 + down], labels[y + down, 1 - down :]
            here_levels, there_levels = levels[y], levels[y + down, 1 - down :]
            flags[width - 1] = 0
            for x in range(uintp(here.size)):
                flags[x] = (here[x] != there[x]) & (max(here[x], there[x]) >= num_seeds)
            places = found[: flagged(words, found)]
            count = number_pairs(here, there, places, table, pairs, count, borders)
            if count < 0:
                return count
            for k in range(places.size):
                x, border = places[k], borders[k]
                heights[border] = min(heights[border], max(here_levels[x], there_levels[x]))
    return count


@njit(cache=True, nogil=True)
def _join_basins(pairs, order, num_seeds, num_basins):
    """Join basins across passes in the given order (Kruskal), never two seeds; return the seed of each, ``(N,)`` int32."""
    parents = np.arange(num_basins).astype(np.int32)
    for k in order:
        a, b = root(parents, pairs[k, 0]), root(parents, pairs[k, 1])
        if max(a, b) >= num_seeds:
            parents[max(a, b)] = min(a, b)
    for basin in range(num_basins):
        parents[basin] = root(parents, basin)
    return parents
