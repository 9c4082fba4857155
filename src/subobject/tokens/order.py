"""Orders in which the tokens of an image are listed."""

from collections.abc import Callable

import numpy as np

from subobject.registry import lookup
from subobject.structures import Segmentation


def raster(segmentation: Segmentation, seed: int) -> np.ndarray:
    """Order segments by their first pixel, row by row."""
    flat = segmentation.labels.ravel()
    first = np.empty(segmentation.num_segments, dtype=np.int64)
    # Of repeated indices numpy keeps the last value, so writing backwards keeps the first pixel.
    first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)
    return np.argsort(first)


def size(segmentation: Segmentation, seed: int) -> np.ndarray:
    """Order segments from the largest to the smallest; ties by index."""
    return np.argsort(-segmentation.areas, kind="stable")


def coarse_to_fine(segmentation: Segmentation, seed: int) -> np.ndarray:
    """Order segments so that the first ``K`` lie in the ``K`` different segments of the cut to ``K``, for every ``K``.

    The whole image is represented by its largest segment; each merge that is undone, strongest first, adds the largest
    segment of the half that had none yet.
    """
    tree, n = segmentation.tree, segmentation.num_segments
    largest = np.arange(len(tree.parents))
    newcomer = np.zeros(len(tree.parents), dtype=np.int64)
    largest[n:] = -1
    for node in range(len(tree.parents) - 1):
        parent, candidate = tree.parents[node], largest[node]
        if largest[parent] < 0:
            largest[parent] = candidate
            continue
        rival = largest[parent]
        wins = (segmentation.areas[candidate], -candidate) > (segmentation.areas[rival], -rival)
        largest[parent], newcomer[parent] = (candidate, rival) if wins else (rival, candidate)
    return np.concatenate([largest[-1:], newcomer[n:][::-1]])


def random(segmentation: Segmentation, seed: int) -> np.ndarray:
    """Order segments at random; the same seed gives the same order."""
    return np.random.default_rng(seed).permutation(segmentation.num_segments)


ORDERS: dict[str, Callable[[Segmentation, int], np.ndarray]] = {
    "raster": raster,
    "size": size,
    "coarse-to-fine": coarse_to_fine,
    "random": random,
}


def arrange(segmentation: Segmentation, order: str, seed: int = 0) -> Segmentation:
    """Renumber the segments of an image in a named order.

    Args:
        segmentation: The segments.
        order: ``raster``, ``size``, ``coarse-to-fine`` or ``random``.
        seed: Seed of the random order.

    Raises:
        ValueError: If the order is unknown.
    """
    return segmentation.reorder(lookup(ORDERS, order, "order")(segmentation, seed))
