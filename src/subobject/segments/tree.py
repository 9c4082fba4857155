"""Merge tree: regions merge across their weakest border first, small ones before large ones.

The order is a greedy agglomeration over the region adjacency graph. The key of a border is

    ``(floor + (1 - floor) * strength) * min(1, (smaller area / (reference_fraction * image area)) ** exponent)``

so a sliver merges early even across a strong border, and where the boundary map is silent regions grow evenly. When two
regions merge, borders with a common neighbour join: the strength becomes the mean weighted with length. Keys are made
monotone by a running maximum, hence all cuts are nested. Work is ``O(E log^2 E)`` for ``E`` borders.
"""

import numpy as np
from numba import njit

from subobject.segments.hashing import find, pair_key, remove
from subobject.structures import MergeTree

REFERENCE_FRACTION = 0.03
EXPONENT = 0.75
FLOOR = 0.01


def build_tree(
    num_segments: int,
    pairs: np.ndarray,
    lengths: np.ndarray,
    strengths: np.ndarray,
    areas: np.ndarray,
    *,
    reference_fraction: float = REFERENCE_FRACTION,
    exponent: float = EXPONENT,
    floor: float = FLOOR,
) -> MergeTree:
    """Merge neighbouring regions until one is left.

    Ties go to the border that comes first in ``pairs``; a joined border keeps the earlier of both positions.

    Args:
        num_segments: ``N``.
        pairs: Neighbouring segments, each pair once, ``(E, 2)`` integer.
        lengths: Length of each border, ``(E,)``, positive.
        strengths: Boundary strength of each border, ``(E,)`` in [0, 1].
        areas: Pixels of each segment, ``(N,)``, positive.
        reference_fraction: Share of the image from which on a region is no longer small, above 0.
        exponent: How steeply keys fall with the size below that share; 0 leaves size out.
        floor: Key of a border of strength 0 between large regions, in [0, 1].

    Returns:
        Tree whose strengths are the keys, float32 in [0, 1].

    Raises:
        ValueError: If an option is out of range or the regions are not connected by the pairs.
    """
    if reference_fraction <= 0 or exponent < 0 or not 0 <= floor <= 1:
        raise ValueError(
            f"expected reference_fraction > 0, exponent >= 0 and floor in [0, 1], got {reference_fraction}, {exponent}, {floor}"
        )
    areas = np.asarray(areas, np.float64)
    parents, keys = _merge(
        num_segments,
        np.ascontiguousarray(pairs, np.int32).reshape(-1, 2),
        np.asarray(lengths, np.float64),
        np.asarray(strengths, np.float64),
        areas,
        reference_fraction * float(areas.sum()),
        exponent,
        floor,
    )
    if num_segments > 1 and parents[-2] < 0:
        raise ValueError("pairs: expected every region to be reachable from every other one")
    return MergeTree(parents, np.minimum(keys, 1).astype(np.float32))


@njit(cache=True, nogil=True)
def _key(total, length, area_a, area_b, reference, exponent, floor):
    discount = min(1.0, (min(area_a, area_b) / reference) ** exponent)
    return (floor + (1.0 - floor) * (total / length)) * discount


@njit(cache=True, nogil=True)
def _push(heap_keys, heap_borders, size, key, border):
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if heap_keys[above] < key or (heap_keys[above] == key and heap_borders[above] <= border):
            break
        heap_keys[at] = heap_keys[above]
        heap_borders[at] = heap_borders[above]
        at = above
    heap_keys[at] = key
    heap_borders[at] = border


@njit(cache=True, nogil=True)
def _sink(heap_keys, heap_borders, size, key, border):
    """Place an entry from the top of a heap of ``size`` entries downwards, replacing the top."""
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        right = below + 1
        if right < size and (
            heap_keys[right] < heap_keys[below]
            or (heap_keys[right] == heap_keys[below] and heap_borders[right] < heap_borders[below])
        ):
            below = right
        if key < heap_keys[below] or (key == heap_keys[below] and border <= heap_borders[below]):
            break
        heap_keys[at] = heap_keys[below]
        heap_borders[at] = heap_borders[below]
        at = below
    heap_keys[at] = key
    heap_borders[at] = border


@njit(cache=True, nogil=True)
def _merge(num_segments, pairs, lengths, strengths, areas, reference, exponent, floor):
    """Return parents and keys of the nodes; the parent of the last node but one stays -1 if the graph is not connected.

    A merged region lives on under the number of the one with more borders, so that each border moves O(log E) times. Half
    ``2 e + s`` of border ``e`` is in the list of its end ``s``. A heap entry may be older than its border: areas only grow,
    so the true key is never below the newest entry, and an entry is checked when it comes to the top.
    """
    borders = len(lengths)
    ends = pairs.copy()
    length = lengths.copy()
    total = strengths * lengths
    area = areas.copy()
    alive = np.ones(borders, np.bool_)
    nodes = 2 * num_segments - 1
    parents = np.full(nodes, np.int32(-1), np.int32)
    parents[nodes - 1] = nodes - 1
    keys = np.zeros(nodes, np.float64)
    node_of = np.arange(num_segments).astype(np.int32)

    following = np.full(2 * borders, np.int32(-1), np.int32)
    first = np.full(num_segments, np.int32(-1), np.int32)
    degree = np.zeros(num_segments, np.int64)
    capacity = 16
    while capacity < 2 * borders:
        capacity *= 2
    table_keys = np.empty(capacity, np.int64)
    table = np.full(capacity, np.int32(-1), np.int32)
    heap_keys = np.empty(2 * borders + 1, np.float64)
    heap_borders = np.empty(2 * borders + 1, np.int32)
    size = 0
    for e in range(borders):
        for side in range(2):
            following[2 * e + side] = first[ends[e, side]]
            first[ends[e, side]] = 2 * e + side
            degree[ends[e, side]] += 1
        pair = pair_key(ends[e, 0], ends[e, 1], num_segments)
        at = find(table_keys, table, pair)
        table_keys[at] = pair
        table[at] = e
        key = _key(total[e], length[e], area[ends[e, 0]], area[ends[e, 1]], reference, exponent, floor)
        _push(heap_keys, heap_borders, size, key, e)
        size += 1

    merged = 0
    highest = 0.0
    while size > 0 and merged < num_segments - 1:
        popped, e = heap_keys[0], heap_borders[0]
        if alive[e]:
            key = _key(total[e], length[e], area[ends[e, 0]], area[ends[e, 1]], reference, exponent, floor)
            if key > popped:
                _sink(heap_keys, heap_borders, size, key, e)
                continue
        size -= 1
        _sink(heap_keys, heap_borders, size, heap_keys[size], heap_borders[size])
        if not alive[e]:
            continue

        a, b = ends[e, 0], ends[e, 1]
        if degree[a] < degree[b]:
            a, b = b, a
        alive[e] = False
        remove(table_keys, table, pair_key(a, b, num_segments))
        highest = max(highest, popped)
        node = num_segments + merged
        keys[node] = highest
        parents[node_of[a]] = node
        parents[node_of[b]] = node
        node_of[a] = node
        area[a] += area[b]
        merged += 1

        half = first[b]
        while half >= 0:
            later = following[half]
            f = half >> 1
            if alive[f]:
                c = ends[f, 1 - (half & 1)]
                remove(table_keys, table, pair_key(b, c, num_segments))
                ends[f, half & 1] = a
                pair = pair_key(a, c, num_segments)
                at = find(table_keys, table, pair)
                kept = f
                if table[at] >= 0:
                    other = table[at]
                    kept, gone = min(f, other), max(f, other)
                    before = total[kept] / length[kept]
                    length[kept] += length[gone]
                    total[kept] += total[gone]
                    alive[gone] = False
                    if total[kept] / length[kept] < before:
                        key = _key(total[kept], length[kept], area[a], area[c], reference, exponent, floor)
                        _push(heap_keys, heap_borders, size, key, kept)
                        size += 1
                table_keys[at] = pair
                table[at] = kept
                if kept == f:
                    following[half] = first[a]
                    first[a] = half
                    degree[a] += 1
            half = later
    return parents, keys
