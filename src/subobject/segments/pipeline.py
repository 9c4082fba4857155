"""From a photograph to its segments: a boundary model (where one is needed) and a segmenter behind one call."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from subobject import boundaries
from subobject.boundaries import BoundaryModel
from subobject.images import read_image
from subobject.registry import lookup
from subobject.segments import SEGMENTERS, Segmenter, create_segmenter
from subobject.structures import Segmentation
from subobject.timing import Clock


class Recipe(NamedTuple):
    """``boundaries``: name of a boundary model, or None. ``segmenter``: name of a segmenter."""

    boundaries: str | None
    segmenter: str


PIPELINES: dict[str, Recipe] = {
    "directsam": Recipe("directsam", "watershed"),
    "gradient": Recipe("gradient", "watershed"),
    **{name: Recipe(None, name) for name in SEGMENTERS if name != "watershed"},
}
DEFAULT = "directsam"


class ImageSegmenter:
    """Cuts photographs into segments.

    Args:
        method: Segmenter.
        boundary_model: Boundary model, or ``None`` where the segmenter looks at the photograph alone.
        boundary_options: Keyword arguments of every call of the boundary model.
    """

    def __init__(self, method: Segmenter, boundary_model: BoundaryModel | None, boundary_options: dict[str, Any] | None = None):
        self.method = method
        self.boundary_model = boundary_model
        self.boundary_options = boundary_options or {}

    @classmethod
    def load(
        cls,
        name: str = DEFAULT,
        *,
        weights: str | Path | None = None,
        runtime: str = "auto",
        device: str = "auto",
        **boundary_options: Any,
    ) -> "ImageSegmenter":
        """Load a segmenter by name.

        Args:
            name: One of ``PIPELINES``.
            weights: Release, folder or hub id of the boundary network; ``None`` means the one that ships.
            runtime: What runs the network: ``auto``, ``torch``, ``onnx`` or ``openvino``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            **boundary_options: ``mode``, ``resolution``, ``levels`` of ``DirectSAM``, for every image.

        Raises:
            ValueError: If a name is unknown, or weights are given to a segmenter that has none.
        """
        recipe = lookup(PIPELINES, name, "segmenter")
        method = create_segmenter(recipe.segmenter)
        if recipe.boundaries is None:
            if weights is not None or boundary_options:
                raise ValueError(f"the segmenter {name!r} has no network: leave its options out, or use 'directsam'")
            return cls(method, None)
        model = boundaries.load(recipe.boundaries, weights=weights, runtime=runtime, device=device)
        return cls(method, model, boundary_options)

    def __call__(
        self,
        image: Any,
        *,
        max_segments: int | None = None,
        threshold: float | None = None,
        clock: Clock | None = None,
    ) -> Segmentation:
        """Cut one image.

        Args:
            image: Anything ``read_image`` takes: path, bytes, PIL image, numpy array, torch tensor.
            max_segments: Largest number of segments.
            threshold: Boundary strength in [0, 1] below which regions merge. With neither, the finest partition is returned;
                its tree holds all coarser ones.
            clock: Takes the seconds of ``read``, ``boundaries`` and ``segments``.
        """
        clock = clock or Clock()
        with clock.measure("read"):
            pixels = read_image(image)
        return self.segment_pixels(pixels, max_segments=max_segments, threshold=threshold, clock=clock)

    def segment_pixels(
        self, pixels: np.ndarray, *, max_segments: int | None, threshold: float | None, clock: Clock
    ) -> Segmentation:
        """Cut one image of ``(H, W, 3)`` uint8 pixels; see ``__call__``."""
        probability = None
        with clock.measure("boundaries"):
            if self.boundary_model is not None:
                probability = self.boundary_model([pixels], **self.boundary_options)[0]
        with clock.measure("segments"):
            segmentation = self.method(pixels, probability, max_segments)
            if threshold is not None:
                segmentation = segmentation.cut(threshold=threshold)
            if max_segments is not None:
                segmentation = segmentation.cut(max_segments=max_segments)
        return segmentation


def segment(
    image: Any,
    *,
    max_segments: int | None = None,
    threshold: float | None = None,
    segmenter: str = DEFAULT,
    **options: Any,
) -> Segmentation:
    """Cut one image into segments.

    Args:
        image: Path, bytes, PIL image, numpy array ``(H, W, 3)`` uint8 or torch tensor.
        max_segments: Largest number of segments; ``None`` keeps the finest partition, whose tree holds all coarser ones.
        threshold: Boundary strength in [0, 1] below which regions merge.
        segmenter: Name of a segmenter; see ``subobject.segments.pipeline.PIPELINES``.
        **options: Passed to ``ImageSegmenter.load``; load one yourself to cut many images.

    Returns:
        The segmentation, at the size of the image.

    Raises:
        ValueError: If the image cannot be read, or an option is wrong; the message says what to do.
    """
    return ImageSegmenter.load(segmenter, **options)(image, max_segments=max_segments, threshold=threshold)
