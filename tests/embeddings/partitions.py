"""Partitions to test with."""

import numpy as np

from subobject.structures import MergeTree, Segmentation


def chain_tree(count: int) -> MergeTree:
    parents = np.empty(2 * count - 1, dtype=np.int32)
    parents[0] = count if count > 1 else 0
    for merge in range(count - 1):
        parents[merge + 1] = count + merge
        parents[count + merge] = min(count + merge + 1, 2 * count - 2)
    return MergeTree(parents, np.zeros(2 * count - 1, dtype=np.float32))


def random_partition(rng: np.random.Generator, height: int, width: int, count: int) -> Segmentation:
    """Nearest of some random centres; every label is present."""
    centres = rng.uniform(size=(count, 2)) * (height, width)
    y, x = np.mgrid[:height, :width] + 0.5
    nearest = np.argmin((y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2, axis=2)
    labels = np.unique(nearest, return_inverse=True)[1].reshape(height, width).astype(np.int32)
    return Segmentation.from_labels(labels, chain_tree(int(labels.max()) + 1))
