"""From a photograph to its segments: a boundary model (where one is needed) and a segmenter behind one call."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from subobject import boundaries
from subobject.boundaries import BoundaryModel
from subobject.images import read_image
from subobject.registry import load_member, lookup
from subobject.segments import MASK_SEGMENTERS, SEGMENTERS, Segmenter, create_segmenter
from subobject.segments.watershed import COLOUR_WEIGHT
from subobject.structures import Segmentation
from subobject.timing import Clock

logger = logging.getLogger(__name__)


class Recipe(NamedTuple):
    """``boundaries``: name of a boundary model, or None. ``segmenter``: name of a segmenter."""

    boundaries: str | None
    segmenter: str


PIPELINES: dict[str, Recipe] = {
    "directsam": Recipe("directsam", "watershed"),
    "gradient": Recipe("gradient", "watershed"),
    **{name: Recipe(None, name) for name in SEGMENTERS if name != "watershed"},
    **{name: Recipe(None, name) for name in MASK_SEGMENTERS},
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
        threads: int | None = None,
        merge_order: str = "learned",
        colour_weight: float = COLOUR_WEIGHT,
        **boundary_options: Any,
    ) -> "ImageSegmenter":
        """Load a segmenter by name.

        Args:
            name: One of ``PIPELINES``.
            weights: Release, folder or hub id of the network; ``None`` means the one that ships. ``sam``, ``sam2`` and
                ``panoptic`` need a folder or hub id.
            runtime: What runs the network: ``auto``, ``torch``, ``onnx`` or ``openvino``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: CPU threads of the network; None leaves the choice to the runtime.
            merge_order: One of ``MERGE_ORDERS``, for segmenters with a boundary map; the others have an order of their own.
            colour_weight: Share of the colour gradient that is added to the boundary map, at least 0, for the same segmenters.
            **boundary_options: ``mode``, ``resolution``, ``levels`` of ``DirectSAM``, for every image.

        Raises:
            ValueError: If a name is unknown, or weights are given to a segmenter that has none.
        """
        recipe = lookup(PIPELINES, name, "segmenter")
        if name in MASK_SEGMENTERS:
            if weights is None or boundary_options:
                raise ValueError(f"the segmenter {name!r} needs the folder or hub id of its weights, and has no other options")
            return cls(load_member(MASK_SEGMENTERS[name]).from_pretrained(weights, device=device), None)
        if recipe.boundaries is None:
            if weights is not None or boundary_options:
                raise ValueError(f"the segmenter {name!r} has no network: leave its options out, or use 'directsam'")
            return cls(create_segmenter(recipe.segmenter), None)
        method = create_segmenter(recipe.segmenter, merge_order=merge_order, colour_weight=colour_weight)
        model = boundaries.load(recipe.boundaries, weights=weights, runtime=runtime, device=device, threads=threads)
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


def shipped(*, weights: str | Path | None = None, runtime: str = "auto", device: str = "auto") -> dict[str, ImageSegmenter]:
    """Load every segmenter that needs no weights of others, by name; one whose extra is not installed is left out.

    Args:
        weights: See ``ImageSegmenter.load``; for the segmenter with a boundary network.
        runtime: What runs the network.
        device: Where.
    """
    loaded = {}
    for name in PIPELINES:
        if name in MASK_SEGMENTERS:
            continue
        own_weights = weights if name == DEFAULT else None
        try:
            loaded[name] = ImageSegmenter.load(name, weights=own_weights, runtime=runtime, device=device)
        except ModuleNotFoundError as error:
            logger.warning("%s is left out: %s", name, error)
    return loaded


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
