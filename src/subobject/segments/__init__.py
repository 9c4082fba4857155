"""Segments: image and boundary map to a partition with a merge tree.

``SEGMENTERS`` is the table of members; a new one is one file and one line. Importing this package loads no member.
"""

from typing import Any, Protocol

import numpy as np

from subobject.registry import load_member, lookup
from subobject.structures import Boundaries, Segmentation


class Segmenter(Protocol):
    """What every member of the table does.

    Attributes:
        needs_boundaries: Whether a call needs a boundary map.
    """

    needs_boundaries: bool

    def __call__(self, image: np.ndarray, boundaries: Boundaries | None = None, max_segments: int | None = None) -> Segmentation:
        """Segment one image.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.
            boundaries: Boundary map of the image's size; may be None where ``needs_boundaries`` is false.
            max_segments: Budget, at least 1; None leaves the number to the method.

        Returns:
            Exactly ``min(max_segments, N)`` segments, where ``N`` is the number that the method makes.
        """
        ...


SEGMENTERS: dict[str, str] = {
    "watershed": "subobject.segments.watershed:Watershed",
    "patches": "subobject.segments.patches:Patches",
    "tiles": "subobject.segments.patches:Tiles",
    "slic": "subobject.segments.classical:SLIC",
    "seeds": "subobject.segments.classical:Seeds",
    "felzenszwalb": "subobject.segments.classical:Felzenszwalb",
}

MASK_SEGMENTERS: dict[str, str] = {
    "sam": "subobject.segments.mask_models:PointPromptedSegmenter",
    "sam2": "subobject.segments.mask_models:PointPromptedSegmenter",
    "panoptic": "subobject.segments.mask_models:PanopticSegmenter",
}
"""Segmenters that make a partition of a network's masks; none has weights of its own, ``from_pretrained`` opens them."""


def create_segmenter(name: str, **options: Any) -> Segmenter:
    """Make a segmenter of the table.

    Args:
        name: A key of ``SEGMENTERS``.
        options: Keyword arguments of its class.

    Raises:
        ValueError: If the name is unknown or an option is out of range.
        ModuleNotFoundError: If the segmenter needs an extra that is not installed; the message names it.
    """
    return load_member(lookup(SEGMENTERS, name, "segmenter"))(**options)
