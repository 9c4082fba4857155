"""Random walks over regions: how far two neighbours are from each other by all ways, not by their common border alone.

A walker crosses weak and long borders more often than strong and short ones. From two parts of one thing, walkers are soon
spread alike; from two things, they are not, even where the border between these is silent in one place (the diffusion distance
of Coifman and Lafon, *Diffusion Maps*, 2006, here in total variation).
"""

import numpy as np
from numba import njit

from subobject.segments.agglomeration import Graph

WALKED_REGIONS = 150
"""Number of regions that are left when the walks begin."""

_STEPS = 16
_LEAST_STRENGTH = 0.02


def add_walks(graph: Graph) -> Graph:
    """Return the graph with the walk distance of the regions of each border.

    It is the total variation distance, in [0, 1], of where two walkers are after 16 steps that start in either region. In each
    step a walker stays with probability 1/2, or else crosses a border with a probability in proportion to
    ``length / (strength + 0.02)``. Time is linear in regions times borders.
    """
    return graph._replace(walks=_walks(graph.pairs, graph.lengths / (graph.strengths + _LEAST_STRENGTH), len(graph.areas)))


@njit(cache=True, nogil=True)
def _walks(pairs, conductances, regions):
    total = np.zeros(regions)
    for border in range(len(pairs)):
        total[pairs[border, 0]] += conductances[border]
        total[pairs[border, 1]] += conductances[border]
    at = np.eye(regions)  # row i tells where a walker from region i is
    before = np.empty_like(at)
    for _ in range(_STEPS):
        at, before = before, at
        at[:] = 0.5 * before
        for border in range(len(pairs)):
            a, b = pairs[border, 0], pairs[border, 1]
            _add(at[a], 0.5 * conductances[border] / total[a], before[b])
            _add(at[b], 0.5 * conductances[border] / total[b], before[a])
    distances = np.zeros(len(pairs))
    for border in range(len(pairs)):
        here, there = at[pairs[border, 0]], at[pairs[border, 1]]
        for region in range(regions):
            distances[border] += 0.5 * abs(here[region] - there[region])
    return distances


@njit(cache=True, nogil=True)
def _add(row, factor, other):
    for i in range(len(row)):
        row[i] += factor * other[i]
