"""From a label map to a ``Segmentation``: measure it and build its merge tree."""

import numpy as np

from subobject.segments.components import components, relabel
from subobject.segments.measure import measure
from subobject.segments.merge_order import MERGE_ORDERS, MergeOrder
from subobject.segments.tree import build_tree, region_graph
from subobject.structures import Segmentation


def segmentation_from_partition(
    labels: np.ndarray,
    num_segments: int,
    strength: np.ndarray,
    max_segments: int | None = None,
    image: np.ndarray | None = None,
    order: MergeOrder = MERGE_ORDERS["strength"],
) -> Segmentation:
    """Build the segmentation of a 4-connected partition, cut to a budget.

    Args:
        labels: ``(H, W)`` int32, contiguous, every value of ``[0, num_segments)`` present and 4-connected. Taken over: the
            result holds this array, and a cut happens in place.
        num_segments: ``N``.
        strength: Boundary strength of each pixel, ``(H, W)`` float32 in [0, 1], from which the merge tree is made.
        max_segments: Budget, at least 1; None keeps all.
        image: ``(H, W, 3)`` uint8 RGB, whose colours a learned order takes into account; None goes without.
        order: What decides which regions merge next.

    Returns:
        Exactly ``min(max_segments, N)`` segments.

    Raises:
        ValueError: If the budget is out of range.
    """
    found = measure(labels, num_segments, strength, image if order.weights else None)
    tree = build_tree(region_graph(found.areas, found.pairs, found.lengths, found.strengths, found.colours), order)
    count = num_segments if max_segments is None else tree.count(max_segments=max_segments)
    if count == num_segments:
        return Segmentation(labels, found.boxes, found.areas, tree)
    tree, assignment = tree.prune(count)
    areas = np.zeros(count, np.int64)
    np.add.at(areas, assignment, found.areas)
    boxes = np.tile(np.array([*labels.shape[::-1], 0, 0], np.int32), (count, 1))
    np.minimum.at(boxes[:, :2], assignment, found.boxes[:, :2])
    np.maximum.at(boxes[:, 2:], assignment, found.boxes[:, 2:])
    relabel(labels, assignment)
    return Segmentation(labels, boxes, areas, tree)


def segmentation_from_labels(labels: np.ndarray, strength: np.ndarray, max_segments: int | None = None) -> Segmentation:
    """Build the segmentation of any integer label map ``(H, W)``; each 4-connected part of a label becomes a segment."""
    partition, count = components(labels)
    return segmentation_from_partition(partition, count, strength, max_segments)


def checked_budget(max_segments: int | None, default: int) -> int:
    """Return the budget of a call, or the default where it has none; a ``ValueError`` below 1."""
    budget = default if max_segments is None else max_segments
    if budget < 1:
        raise ValueError(f"max_segments is {budget}: use 1 or more")
    return budget
