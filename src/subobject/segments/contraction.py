"""Regions joined to fewer ones, and what is left of a merge tree when a number of regions are."""

import numpy as np
from numba import njit

from subobject.segments.agglomeration import Graph
from subobject.segments.hashing import empty_table, find, pair_key


@njit(cache=True, nogil=True)
def regions_left(parents, count):
    """Return what is left of a merge tree's segments when ``count`` regions are.

    In one compiled pass what ``MergeTree.ancestors`` and ``prune`` tell in several.

    Args:
        parents: Of ``N`` segments, ``(2 N - 1,)`` int32; see ``MergeTree``.
        count: From 1 to ``N``.

    Returns:
        The region that each node is the top of, ``(2 N - count,)`` int32, -1 for none, and the region of each segment, ``(N,)``
        int32. Regions are numbered by their first segment.
    """
    segments = (len(parents) + 1) // 2
    tops = _tops(parents, 2 * segments - count)
    region_of = np.full(len(tops), np.int32(-1), np.int32)
    assignment = np.empty(segments, np.int32)
    regions = 0
    for segment in range(segments):
        top = tops[segment]
        if region_of[top] < 0:
            region_of[top] = regions
            regions += 1
        assignment[segment] = region_of[top]
    return region_of, assignment


@njit(cache=True, nogil=True)
def _tops(parents, below):
    """Return the last ancestor of each node among the first nodes, ``(below,)`` int32."""
    tops = np.empty(below, np.int32)
    for node in range(below - 1, -1, -1):
        above = parents[node]
        tops[node] = node if above < 0 or above >= below or above == node else tops[above]
    return tops


def contract(graph: Graph, assignment: np.ndarray) -> Graph:
    """Join regions, and the borders between joined ones.

    Args:
        graph: Of ``N`` regions.
        assignment: Joined region of each one, ``(N,)`` integer, every value of ``[0, K)`` present.
    """
    return _contract(graph, assignment, int(assignment.max()) + 1)


@njit(cache=True, nogil=True)
def _contract(graph, assignment, count):
    areas = np.zeros(count)
    lab = np.zeros((count, 3))
    for region in range(len(assignment)):
        joined = assignment[region]
        areas[joined] += graph.areas[region]
        for channel in range(3):
            lab[joined, channel] += graph.areas[region] * graph.lab[region, channel]
    for region in range(count):
        lab[region] /= areas[region]

    numbers = empty_table(len(graph.lengths))
    keys = np.empty(len(graph.lengths), np.int64)
    sums = np.zeros((len(graph.lengths), 3))
    met = 0
    for border in range(len(graph.lengths)):
        a, b = assignment[graph.pairs[border, 0]], assignment[graph.pairs[border, 1]]
        if a == b:
            continue
        key = pair_key(a, b)
        at = find(numbers, key)
        if numbers[at, 1] < 0:
            numbers[at, 0], numbers[at, 1] = key, met
            keys[met] = key
            met += 1
        number, length = numbers[at, 1], graph.lengths[border]
        sums[number, 0] += length
        sums[number, 1] += length * graph.strengths[border]
        sums[number, 2] += length * graph.walks[border]
    order = np.argsort(keys[:met])
    pairs = np.empty((met, 2), np.int32)
    lengths, strengths, walks = np.empty(met), np.empty(met), np.empty(met)
    for place, number in enumerate(order):
        pairs[place, 0], pairs[place, 1] = keys[number] >> 32, keys[number] & 0xFFFFFFFF
        lengths[place] = sums[number, 0]
        strengths[place] = sums[number, 1] / sums[number, 0]
        walks[place] = sums[number, 2] / sums[number, 0]
    return Graph(areas, lab, pairs, lengths, strengths, walks)
