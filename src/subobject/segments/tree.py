"""Merge tree: regions merge across their weakest border first, small ones before large ones.

The order is a greedy agglomeration over the region adjacency graph. The key of a border is

    ``(floor + (1 - floor) * strength) * min(1, (smaller area / (reference_fraction * image area)) ** exponent)``

so a sliver merges early even across a strong border, and where the boundary map is silent regions grow evenly. When two
regions merge, borders with a common neighbour join: the strength becomes the mean weighted with length. Keys are made
monotone by a running maximum, hence all cuts are nested. They are rounded to float32 before they are compared. Work is
``O(E log^2 E)`` for ``E`` borders.
"""

import numpy as np
from numba import njit

from subobject.segments.hashing import empty_table, find, pair_key, remove
from subobject.structures import MergeTree

REFERENCE_FRACTION = 0.03
EXPONENT = 0.75
FLOOR = 0.01

_GUARD = np.int64(2**63 - 1)
_BORDER = np.int64(2**32 - 1)


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
    return MergeTree(parents, np.minimum(keys, np.float32(1)))


@njit(cache=True, nogil=True)
def _entry(floor, mean, discount, border):
    """Pack the key of a border, rounded to float32, and its number into an integer of the same order."""
    key = np.float32((floor + (1.0 - floor) * mean) * discount)
    return (np.int64(key.view(np.int32)) << 32) | border  # the bits of floats that are not negative ascend with them


@njit(cache=True, nogil=True)
def _push(heap, size, entry):
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if heap[above] <= entry:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = entry


@njit(cache=True, nogil=True)
def _replace_top(heap, size, entry):
    """Put an entry in the place of the smallest one and let it sink; ``heap[size]`` is taken for a guard."""
    heap[size] = _GUARD
    at, below = 0, 1
    while below < size:
        below += heap[below + 1] < heap[below]  # no branch: which child is smaller cannot be predicted
        if entry <= heap[below]:
            break
        heap[at] = heap[below]
        at = below
        below = 2 * at + 1
    heap[at] = entry


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
    discount = np.minimum(1.0, (areas / reference) ** exponent)
    alive = np.ones(borders, np.bool_)
    nodes = 2 * num_segments - 1
    parents = np.full(nodes, np.int32(-1), np.int32)
    parents[nodes - 1] = nodes - 1
    keys = np.zeros(nodes, np.float32)
    node_of = np.arange(num_segments).astype(np.int32)

    following = np.full(2 * borders, np.int32(-1), np.int32)
    first = np.full(num_segments, np.int32(-1), np.int32)
    degree = np.zeros(num_segments, np.int64)
    table = empty_table(borders)
    heap = np.empty(2 * borders + 2, np.int64)
    size = 0
    for e in range(borders):
        a, b = ends[e, 0], ends[e, 1]
        for side in range(2):
            following[2 * e + side] = first[ends[e, side]]
            first[ends[e, side]] = 2 * e + side
            degree[ends[e, side]] += 1
        pair = pair_key(a, b)
        at = find(table, pair)
        table[at, 0], table[at, 1] = pair, e
        _push(heap, size, _entry(floor, total[e] / length[e], min(discount[a], discount[b]), e))
        size += 1

    merged = 0
    highest = np.float32(0)
    while size > 0 and merged < num_segments - 1:
        popped = heap[0]
        e = popped & _BORDER
        a, b = ends[e, 0], ends[e, 1]
        if alive[e]:
            entry = _entry(floor, total[e] / length[e], min(discount[a], discount[b]), e)
            if entry > popped:
                _replace_top(heap, size, entry)
                continue
        size -= 1
        _replace_top(heap, size, heap[size])
        if not alive[e]:
            continue

        if degree[a] < degree[b]:
            a, b = b, a
        alive[e] = False
        remove(table, pair_key(a, b))
        highest = max(highest, np.int32(popped >> 32).view(np.float32))
        node = num_segments + merged
        keys[node] = highest
        parents[node_of[a]] = node
        parents[node_of[b]] = node
        node_of[a] = node
        area[a] += area[b]
        discount[a] = min(1.0, (area[a] / reference) ** exponent)
        merged += 1

        half = first[b]
        while half >= 0:
            later = following[half]
            f = half >> 1
            if alive[f]:
                c = ends[f, 1 - (half & 1)]
                remove(table, pair_key(b, c))
                ends[f, half & 1] = a
                pair = pair_key(a, c)
                at = find(table, pair)
                kept = f
                if table[at, 1] >= 0:
                    other = np.int32(table[at, 1])
                    kept, gone = min(f, other), max(f, other)
                    before = total[kept] / length[kept]
                    length[kept] += length[gone]
                    total[kept] += total[gone]
                    alive[gone] = False
                    mean = total[kept] / length[kept]
                    if mean < before:
                        _push(heap, size, _entry(floor, mean, min(discount[a], discount[c]), kept))
                        size += 1
                table[at, 0], table[at, 1] = pair, kept
                if kept == f:
                    following[half] = first[a]
                    first[a] = half
                    degree[a] += 1
            half = later
    return parents, keys
