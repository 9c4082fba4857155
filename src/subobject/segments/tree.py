"""Merge tree: regions merge in the order of a key (``merge_order``), by greedy agglomeration over their adjacency graph.

When two regions merge, borders with a common neighbour join: the strength becomes the mean weighted with length, the colour the
mean weighted with area. Keys are made monotone by a running maximum, hence all cuts are nested. They are rounded to float32
before they are compared.

A border tells little of what lies beyond it, so for the top of the tree random walks can count as well (``walks``).
"""

import numpy as np

from subobject.filters import rgb_to_lab
from subobject.segments.agglomeration import Graph, Rule, merge
from subobject.segments.contraction import contract, regions_left
from subobject.segments.merge_order import MERGE_ORDERS, MergeOrder
from subobject.segments.walks import WALKED_REGIONS, add_walks
from subobject.structures import MergeTree


def build_tree(graph: Graph, order: MergeOrder = MERGE_ORDERS["strength"]) -> MergeTree:
    """Merge neighbouring regions until one is left.

    Ties go to the border that comes first; a joined border keeps the earlier of both positions.

    Args:
        graph: Of ``N`` regions, which all its borders together connect.
        order: What decides which regions merge next.

    Returns:
        Tree whose strengths are the keys, float32 in [0, 1]; with a learned order their roots, which spread over that range.

    Raises:
        ValueError: If the regions are not connected.
    """
    if order.early is None:
        return _tree(graph, order)
    tree = _tree(graph, order.early)
    region_of, assignment = regions_left(tree.parents, min(WALKED_REGIONS, tree.num_segments))
    return _graft(tree, region_of, _tree(add_walks(contract(graph, assignment)), order))


def region_graph(
    areas: np.ndarray, pairs: np.ndarray, lengths: np.ndarray, strengths: np.ndarray, colours: np.ndarray | None = None
) -> Graph:
    """Return the graph of measured segments (``measure``), where nobody has walked yet.

    Args:
        areas: Pixels of each segment, ``(N,)``, positive.
        pairs: Neighbouring segments, each pair once, ``(E, 2)`` integer.
        lengths: Length of each border, ``(E,)``, positive.
        strengths: Boundary strength of each border, ``(E,)`` in [0, 1].
        colours: Mean sRGB colour of each segment, ``(N, 3)`` in [0, 255]; None takes all for the same.
    """
    lab = np.zeros((len(areas), 3))
    if colours is not None:
        lab[:] = rgb_to_lab(np.rint(colours).astype(np.uint8)[None])[0]
    return Graph(
        areas=np.asarray(areas, np.float64),
        lab=lab,
        pairs=np.ascontiguousarray(pairs, np.int32).reshape(-1, 2),
        lengths=np.asarray(lengths, np.float64),
        strengths=np.asarray(strengths, np.float64),
        walks=np.zeros(len(lengths)),
    )


def _tree(graph: Graph, order: MergeOrder) -> MergeTree:
    parents, keys = merge(graph, Rule.of(order), 1)
    if len(parents) > 1 and parents[-2] < 0:
        raise ValueError("pairs: expected every region to be reachable from every other one")
    keys = np.minimum(keys, np.float32(1))
    return MergeTree(parents, np.sqrt(keys) if order.weights else keys)


def _graft(tree: MergeTree, region_of: np.ndarray, top: MergeTree) -> MergeTree:
    """Put a tree over the regions of a cut, ``contraction.regions_left``, in the place of all merges above that cut."""
    count, below = top.num_segments, len(region_of)
    moved = top.parents + np.int32(below - count)
    is_top = region_of >= 0
    parents = tree.parents[:below].copy()
    parents[is_top] = moved[region_of[is_top]]
    strengths = np.concatenate([tree.strengths[:below], top.strengths[count:]])
    return MergeTree(np.concatenate([parents, moved[count:]]), np.maximum.accumulate(strengths))
