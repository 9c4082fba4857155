"""Votes on what belongs together: many trees over the same regions, each with its border strengths a little off.

Greedy merging follows small differences: a border that is a little weaker joins two regions, and all that comes after builds on
it. What most of the perturbed trees keep apart is more likely to be apart than what one tree does (evidence accumulation, Fred
and Jain, *Combining Multiple Clusterings Using Evidence Accumulation*, TPAMI 2005).
"""

import math

import numpy as np
from numba import njit

from subobject.segments.agglomeration import Graph, Rule, merge
from subobject.segments.merge_order import MergeOrder

VOTED_REGIONS = 150
"""Number of regions that are left when the voting begins."""

_TREES = 16
_LEFT = 64
_SPREAD = 0.5


def contract(graph: Graph, assignment: np.ndarray) -> Graph:
    """Join regions, and the borders between joined ones.

    Args:
        graph: Of ``N`` regions.
        assignment: Joined region of each one, ``(N,)`` integer, every value of ``[0, K)`` present.
    """
    count = int(assignment.max()) + 1
    areas = np.bincount(assignment, graph.areas, count)
    lab = np.stack([np.bincount(assignment, graph.areas * channel, count) for channel in graph.lab.T], axis=1) / areas[:, None]
    ends = np.sort(assignment[graph.pairs], axis=1).astype(np.int64)
    outer = ends[:, 0] != ends[:, 1]
    keys, border = np.unique(ends[outer, 0] * count + ends[outer, 1], return_inverse=True)
    pairs = np.stack([keys // count, keys % count], axis=1).astype(np.int32)
    lengths = graph.lengths[outer]
    totals = [np.bincount(border, lengths * values[outer], len(keys)) for values in (graph.strengths, graph.votes)]
    joined = np.bincount(border, lengths, len(keys))
    return Graph(areas, lab, pairs, joined, totals[0] / joined, totals[1] / joined)


def add_votes(graph: Graph, order: MergeOrder) -> Graph:
    """Return the graph with the share of perturbed trees that keep the regions of each border apart when 64 are left."""
    return graph._replace(votes=_votes(graph, Rule.of(order)))


@njit(cache=True, nogil=True)
def _votes(graph, rule):
    borders, nodes = len(graph.lengths), 2 * len(graph.areas) - 1
    below = min(nodes, 2 * len(graph.areas) - _LEFT)
    apart = np.zeros(borders)
    tops = np.empty(nodes, np.int32)
    for tree in range(_TREES):
        strengths = np.empty(borders)
        for e in range(borders):
            strengths[e] = min(1.0, graph.strengths[e] * math.exp(_SPREAD * _noise(tree * borders + e)))
        perturbed = Graph(graph.areas, graph.lab, graph.pairs, graph.lengths, strengths, graph.votes)
        parents, _ = merge(perturbed, rule, _LEFT)
        for node in range(below - 1, -1, -1):
            above = parents[node]
            tops[node] = node if above < 0 or above >= below else tops[above]
        for e in range(borders):
            apart[e] += tops[graph.pairs[e, 0]] != tops[graph.pairs[e, 1]]
    return apart / _TREES


@njit(cache=True, nogil=True)
def _noise(number):
    """Scatter integers over [-1, 1): the finaliser of SplitMix64, the same on every machine."""
    bits = np.uint64(number + 1) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits = bits ^ (bits >> np.uint64(31))
    return (bits >> np.uint64(11)) / 2.0**52 - 1.0
