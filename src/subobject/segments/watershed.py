"""Watershed segmenter: basins of a learned boundary map, with a merge tree over them."""

import numpy as np

from subobject.registry import lookup
from subobject.segments.colour import colour_gradient
from subobject.segments.flood import flood, flood_from_minima, quantise, seeds_below
from subobject.segments.merge_order import MERGE_ORDERS, MergeOrder
from subobject.segments.partition import segmentation_from_partition
from subobject.structures import Boundaries, Segmentation

COLOUR_WEIGHT = 0.05
"""Share of the colour gradient that is added to the boundary map, if none is asked for."""


class Watershed:
    """Flood a boundary map from its minima, or from the regions below a threshold.

    A little colour gradient is added to the boundary map, so that basins follow the image where the network is silent and
    large budgets can be met. The rest of the work is linear in the pixels.

    Args:
        seed_threshold: None takes every regional minimum of the map as a seed; a probability takes the connected regions
            below it, as EPOC does (Chen et al., *Subobject-level Image Tokenization*, arXiv 2402.14327v3).
        colour_weight: Share of the colour gradient that is added to the probability, at least 0.
        merge_order: What decides which regions merge next, or its name in ``MERGE_ORDERS``.
    """

    needs_boundaries = True

    def __init__(
        self,
        *,
        seed_threshold: float | None = None,
        colour_weight: float = COLOUR_WEIGHT,
        merge_order: str | MergeOrder = "learned",
    ) -> None:
        if seed_threshold is not None and not 0 <= seed_threshold <= 1:
            raise ValueError(f"seed_threshold is {seed_threshold}: use a boundary probability from 0 to 1, or None")
        if colour_weight < 0:
            raise ValueError(f"colour_weight is {colour_weight}: use 0 or more")
        self.seed_threshold = seed_threshold
        self.colour_weight = colour_weight
        self.merge_order = lookup(MERGE_ORDERS, merge_order, "merge order") if isinstance(merge_order, str) else merge_order

    def __call__(self, image: np.ndarray | None, boundaries: Boundaries | None, max_segments: int | None = None) -> Segmentation:
        """Segment one image.

        Args:
            image: ``(H, W, 3)`` uint8 RGB for the colour gradient and the merge tree; None goes without.
            boundaries: Boundary map of the same size.
            max_segments: Budget, at least 1; None keeps all basins.

        Returns:
            Exactly ``min(max_segments, basins)`` segments.

        Raises:
            ValueError: If there is no boundary map or its size is not that of the image.
        """
        if boundaries is None:
            raise ValueError("the watershed segmenter needs a boundary map")
        strength = boundaries.probability
        if image is not None and image.shape[:2] != strength.shape:
            raise ValueError(f"image: expected the size {strength.shape} of the boundary map, got {image.shape[:2]}")
        if image is not None and self.colour_weight > 0:
            strength = colour_gradient(image)
            strength *= np.float32(self.colour_weight)
            strength += boundaries.probability
            np.minimum(strength, 1, out=strength)
        labels, count = self._basins(boundaries.probability, strength)
        return segmentation_from_partition(labels, count, strength, max_segments, image, self.merge_order)

    def _basins(self, probability: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, int]:
        """Flood; a function of its own, so that the levels are freed before the tree is built."""
        levels = quantise(strength)
        if self.seed_threshold is None:
            return flood_from_minima(levels)
        seeds, count = seeds_below(probability, levels, self.seed_threshold)
        return flood(levels, seeds), count
