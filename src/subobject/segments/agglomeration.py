"""Greedy agglomeration of regions over their adjacency graph, compiled.

Which keys are brought up to date decides the time. A key is computed anew when its border comes first, and is then put back if
it has risen; and of the two regions that merge, the borders of the one that has fewer are computed anew, if only to fall. That
makes ``O(E log E)`` keys for ``E`` borders, and ``O(E log^2 E)`` work. With keys of strength and size alone each merge is that of
the smallest key. With colours, a key that should have fallen since the colour of a large region has moved waits until its
border comes first.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from subobject.segments.hashing import empty_table, find, pair_key, remove
from subobject.segments.merge_order import MergeOrder

# How much squared differences in chroma count against those in lightness, and the difference that tells half of what colour can.
_CHROMA = 2.0
_HALF = 10.0

_GUARD = np.int64(2**63 - 1)
_BORDER = np.int64(2**32 - 1)


class Graph(NamedTuple):
    """Regions and their borders.

    Attributes:
        areas: Pixels of each region, ``(N,)`` float64.
        lab: Its mean colour in CIELAB, ``(N, 3)`` float64.
        pairs: The two regions of each border, ``(E, 2)`` int32.
        lengths: Length of each border, ``(E,)`` float64.
        strengths: Its mean boundary strength, ``(E,)`` float64 in [0, 1].
        walks: Walk distance of its regions (``walks``), in [0, 1], ``(E,)`` float64; zeros where nobody walked.
    """

    areas: np.ndarray
    lab: np.ndarray
    pairs: np.ndarray
    lengths: np.ndarray
    strengths: np.ndarray
    walks: np.ndarray


class Rule(NamedTuple):
    """A ``MergeOrder`` for compiled code; ``weights`` are float64, ``(7,)`` or empty."""

    weights: np.ndarray
    reference_fraction: float
    exponent: float
    floor: float

    @classmethod
    def of(cls, order: MergeOrder) -> "Rule":
        """Return the rule of an order."""
        return cls(np.array(order.weights or (), np.float64), order.reference_fraction, order.exponent, order.floor)


@njit(cache=True, nogil=True)
def evidence(strength, lightness, green_red, blue_yellow, log_share, other_log_share, walk):
    """Return what tells whether two regions are different, six numbers that the logistic model weighs.

    Args:
        strength: Mean boundary strength along their border, in [0, 1].
        lightness: Difference of their mean colours along L of CIELAB.
        green_red: The same along a.
        blue_yellow: The same along b.
        log_share: Natural logarithm of the share of the image that one of them covers.
        other_log_share: That of the other.
        walk: Walk distance between them, in [0, 1].
    """
    difference = math.sqrt(lightness * lightness + _CHROMA * (green_red * green_red + blue_yellow * blue_yellow))
    return (
        strength,
        math.sqrt(strength),
        difference / (difference + _HALF),
        min(log_share, other_log_share),
        max(log_share, other_log_share),
        walk,
    )


@njit(cache=True, nogil=True)
def _key(strength, walk, regions, a, b, weights, floor):
    """Compute the bits of a border's key; a region has L, a, b, the logarithm of its share, and its discount."""
    different = strength
    if len(weights) > 0:
        found = evidence(
            strength,
            regions[a, 0] - regions[b, 0],
            regions[a, 1] - regions[b, 1],
            regions[a, 2] - regions[b, 2],
            regions[a, 3],
            regions[b, 3],
            walk,
        )
        total = weights[0]
        total += weights[1] * found[0]
        total += weights[2] * found[1]
        total += weights[3] * found[2]
        total += weights[4] * found[3]
        total += weights[5] * found[4]
        total += weights[6] * found[5]
        different = 1.0 / (1.0 + math.exp(-total))
    key = np.float32((floor + (1.0 - floor) * different) * min(regions[a, 4], regions[b, 4]))
    return key.view(np.int32)  # the bits of floats that are not negative ascend with them


@njit(cache=True, nogil=True)
def _entry(key, border):
    """Pack the bits of a key and the number of its border into an integer of the same order."""
    return (np.int64(key) << 32) | border


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
def _larger(heap):
    larger = np.empty(2 * len(heap), np.int64)
    larger[: len(heap)] = heap
    return larger


@njit(cache=True, nogil=True)
def merge(graph, rule, left):
    """Merge neighbouring regions until some are left.

    Args:
        graph: A ``Graph``, connected.
        rule: A ``Rule``.
        left: How many regions to leave, at least 1.

    Returns:
        Parents ``(2 N - 1,)`` int32 and keys ``(2 N - 1,)`` float32 of the nodes, numbered as in ``MergeTree``. The parent of a
        region that nothing was merged with stays -1, but for the last node, which is its own.
    """
    # A merged region lives on under the number of the one with more borders, so that each border moves O(log E) times. Half
    # `2 e + s` of border `e` is in the list of its end `s`. `latest` holds the bits of each border's newest key, or -1 where the
    # border is gone: heap entries with another key are dropped when they come to the top.
    num_segments, borders = len(graph.areas), len(graph.lengths)
    weights, floor = rule.weights, rule.floor
    ends = graph.pairs.copy()
    length = graph.lengths.copy()
    total = graph.strengths * graph.lengths
    walks = graph.walks * graph.lengths
    area = graph.areas.copy()
    image_area = area.sum()
    regions = np.empty((num_segments, 5))
    for i in range(num_segments):
        regions[i, :3] = graph.lab[i]
        _set_size(regions, i, area[i] / image_area, rule)
    latest = np.empty(borders, np.int32)
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
    for e in range(borders):
        latest[e] = _key(total[e] / length[e], walks[e] / length[e], regions, ends[e, 0], ends[e, 1], weights, floor)
    for size in range(borders):
        _push(heap, size, _entry(latest[size], size))
    size = borders
    for e in range(borders):
        a, b = ends[e, 0], ends[e, 1]
        for side in range(2):
            following[2 * e + side] = first[ends[e, side]]
            first[ends[e, side]] = 2 * e + side
            degree[ends[e, side]] += 1
        pair = pair_key(a, b)
        at = find(table, pair)
        table[at, 0], table[at, 1] = pair, e

    merged = 0
    highest = np.float32(0)
    while size > 0 and merged < num_segments - left:
        popped = heap[0]
        e = popped & _BORDER
        a, b = ends[e, 0], ends[e, 1]
        if popped >> 32 == latest[e]:
            key = _key(total[e] / length[e], walks[e] / length[e], regions, a, b, weights, floor)
            if key > latest[e]:
                latest[e] = key
                _replace_top(heap, size, _entry(key, e))
                continue
        size -= 1
        _replace_top(heap, size, heap[size])
        if popped >> 32 != latest[e]:
            continue

        if degree[a] < degree[b]:
            a, b = b, a
        latest[e] = -1
        remove(table, pair_key(a, b))
        highest = max(highest, np.int32(popped >> 32).view(np.float32))
        node = num_segments + merged
        keys[node] = highest
        parents[node_of[a]] = node
        parents[node_of[b]] = node
        node_of[a] = node
        share = area[b] / (area[a] + area[b])
        for channel in range(3):
            regions[a, channel] += share * (regions[b, channel] - regions[a, channel])
        area[a] += area[b]
        _set_size(regions, a, area[a] / image_area, rule)
        merged += 1

        half = first[b]
        while half >= 0:
            later = following[half]
            f = half >> 1
            if latest[f] >= 0:
                c = ends[f, 1 - (half & 1)]
                remove(table, pair_key(b, c))
                ends[f, half & 1] = a
                pair = pair_key(a, c)
                at = find(table, pair)
                kept = f
                if table[at, 1] >= 0:
                    other = np.int32(table[at, 1])
                    kept, gone = min(f, other), max(f, other)
                    length[kept] += length[gone]
                    total[kept] += total[gone]
                    walks[kept] += walks[gone]
                    latest[gone] = -1
                table[at, 0], table[at, 1] = pair, kept
                if kept == f:
                    following[half] = first[a]
                    first[a] = half
                    degree[a] += 1
                key = _key(total[kept] / length[kept], walks[kept] / length[kept], regions, a, c, weights, floor)
                if key < latest[kept]:
                    latest[kept] = key
                    if size == len(heap) - 1:
                        heap = _larger(heap)
                    _push(heap, size, _entry(key, kept))
                    size += 1
            half = later
    return parents, keys


@njit(cache=True, nogil=True)
def _set_size(regions, region, share, rule):
    regions[region, 3] = math.log(share)
    regions[region, 4] = min(1.0, (share / rule.reference_fraction) ** rule.exponent)
