"""Targets of boundary networks: pure array functions from label maps to boundary maps."""

import numpy as np


def label_changes(labels: np.ndarray) -> np.ndarray:
    """Mark every pixel whose right or lower neighbour belongs to another segment.

    Args:
        labels: Segment of each pixel, ``(H, W)``, any integer dtype.

    Returns:
        One-pixel wide boundaries, ``(H, W)`` bool; the last column and row never change to the right or below.

    Example:
        >>> label_changes(np.array([[0, 0, 1], [0, 0, 1]]))
        array([[False,  True, False],
               [False,  True, False]])
    """
    changes = np.zeros(labels.shape, dtype=bool)
    changes[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    changes[:-1] |= labels[:-1] != labels[1:]
    return changes


def annotator_fraction(labels: np.ndarray) -> np.ndarray:
    """Return the share of annotators who drew a boundary at each pixel.

    Args:
        labels: One label map an annotator, ``(A, H, W)``, any integer dtype, ``A >= 1``.

    Returns:
        ``(H, W)`` float32 in [0, 1].
    """
    total = np.zeros(labels.shape[1:], dtype=np.float32)
    for annotator in labels:
        total += label_changes(annotator)
    return total / len(labels)
