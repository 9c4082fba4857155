"""From a label map to a ``Segmentation``: measure it and build its merge tree."""

import numpy as np

from subobject.segments.flood import components, measure
from subobject.segments.tree import build_tree
from subobject.structures import Segmentation


def segmentation_from_partition(
    labels: np.ndarray, num_segments: int, strength: np.ndarray, max_segments: int | None = None, **tree_options: float
) -> Segmentation:
    """Build the segmentation of a 4-connected partition, cut to a budget.

    Args:
        labels: ``(H, W)`` int32, every value of ``[0, num_segments)`` present and 4-connected.
        num_segments: ``N``.
        strength: Boundary strength of each pixel, ``(H, W)`` float32 in [0, 1], from which the merge tree is made.
        max_segments: Budget, at least 1; None keeps all.
        tree_options: Keyword arguments of ``build_tree``.

    Returns:
        Exactly ``min(max_segments, N)`` segments.
    """
    found = measure(labels, num_segments, strength)
    tree = build_tree(num_segments, found.pairs, found.lengths, found.strengths, found.areas, **tree_options)
    segmentation = Segmentation(labels, found.boxes, found.areas, tree)
    return segmentation if max_segments is None else segmentation.cut(max_segments=max_segments)


def segmentation_from_labels(labels: np.ndarray, strength: np.ndarray, max_segments: int | None = None) -> Segmentation:
    """Build the segmentation of any integer label map ``(H, W)``; each 4-connected part of a label becomes a segment."""
    partition, count = components(labels)
    return segmentation_from_partition(partition, count, strength, max_segments)
