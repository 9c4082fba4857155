"""Masks of other programs in one form: boolean arrays, COCO annotations, SAM's automatic masks, FastSAM, panoptic maps."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from subobject.geometry import decode_rle


class Mask(NamedTuple):
    """One mask, cropped to its box.

    Attributes:
        top: First row.
        left: First column.
        inside: ``(h, w)`` bool, empty ``(0, 0)`` where the mask has no pixel.
    """

    top: int
    left: int
    inside: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the box."""
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.inside))


class MaskSet(NamedTuple):
    """Masks of one image, which may overlap and leave gaps.

    Attributes:
        size_hw: Height and width of the image.
        masks: In the order given.
        scores: How sure their maker is of each, ``(M,)`` float64, or None.
    """

    size_hw: tuple[int, int]
    masks: list[Mask]
    scores: np.ndarray | None


def read_masks(source: Any, size_hw: tuple[int, int] | None = None) -> MaskSet:
    """Take masks in any of the usual forms.

    Args:
        source: One of

            - an array or tensor ``(M, H, W)``: bool, or numbers of which those above 0.5 are inside;
            - a list of dictionaries with ``segmentation``, each a mask ``(H, W)``, COCO run lengths (compressed or not) or
              polygons: COCO annotations, SA-1B, the masks of ``SamAutomaticMaskGenerator`` with their ``predicted_iou``;
            - a dictionary with ``masks`` and perhaps ``scores``: the mask-generation pipeline of transformers;
            - a dictionary with ``segmentation`` ``(H, W)`` and ``segments_info``: a panoptic map of transformers;
            - a result of FastSAM (``masks.data``, ``boxes.conf``), made with ``retina_masks=True``.
        size_hw: Height and width of the image; needed where there are only polygons or no mask at all.

    Raises:
        ValueError: If it is none of these, or the sizes differ.

    Example:
        >>> read_masks(np.array([[[True, False], [True, False]]])).masks[0].inside.tolist()
        [[True], [True]]
    """
    if isinstance(source, Mapping) and "segments_info" in source:
        arrays, scores = _panoptic(source)
    elif isinstance(source, Mapping) and "masks" in source:
        arrays, scores = _arrays(source["masks"]), source.get("scores")
    elif hasattr(source, "masks") and hasattr(source, "boxes"):
        arrays = [] if source.masks is None else _arrays(source.masks.data)
        scores = None if source.boxes is None else source.boxes.conf
        size_hw = tuple(source.orig_shape[:2])
    elif isinstance(source, Sequence) and all(isinstance(one, Mapping) and "segmentation" in one for one in source):
        size_hw = size_hw or next((_rle_size(one["segmentation"]) for one in source if _rle_size(one["segmentation"])), None)
        arrays = [decode_mask(one["segmentation"], size_hw) for one in source]
        scores = _dictionary_scores(source)
    else:
        arrays, scores = _arrays(source), None
    sizes = {size_hw} if size_hw is not None else set()
    sizes |= {array.shape for array in arrays}
    if len(sizes) != 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(sizes)) or "none"
        raise ValueError(
            f"masks: expected one size, got {listed}: give masks as large as their image, and size_hw if there is none"
        )
    (size,) = sizes
    values = None if scores is None else np.asarray(_numpy(scores), dtype=np.float64).ravel()
    if values is not None and len(values) != len(arrays):
        raise ValueError(f"scores: expected one for each of {len(arrays)} masks, got {len(values)}")
    return MaskSet((int(size[0]), int(size[1])), [crop_mask(array) for array in arrays], values)


def crop_mask(mask: np.ndarray) -> Mask:
    """Crop a mask ``(H, W)`` bool to its box."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return Mask(0, 0, np.zeros((0, 0), dtype=bool))
    top, left = int(rows[0]), int(columns[0])
    return Mask(top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())


def decode_mask(segmentation: Any, size_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Decode the ``segmentation`` of one annotation: an array, COCO run lengths (compressed or not), or polygons.

    Polygons are filled with the pixels that Pillow takes; pycocotools differs from it along the outline.

    Args:
        segmentation: See above.
        size_hw: Height and width of the image; run lengths of another size are refused, and polygons need it.

    Returns:
        ``(H, W)`` bool.

    Raises:
        ValueError: If it is none of these, or has another size.
    """
    if isinstance(segmentation, Mapping):
        size = _rle_size(segmentation)
        if size is None or "counts" not in segmentation:
            raise ValueError("run lengths: expected a dictionary with size (height, width) and counts")
        if size_hw is not None and size != tuple(size_hw):
            raise ValueError(f"run lengths are for {size[0]} x {size[1]} pixels, but the image has {size_hw[0]} x {size_hw[1]}")
        counts = segmentation["counts"]
        if isinstance(counts, bytes):
            counts = counts.decode("ascii")
        return decode_rle(counts, size) if isinstance(counts, str) else _runs(counts, size)
    if isinstance(segmentation, list | tuple):
        return _polygons(segmentation, size_hw)
    return _inside(_numpy(segmentation), 2)


def _runs(counts: Sequence[int], size_hw: tuple[int, int]) -> np.ndarray:
    height, width = size_hw
    lengths = np.asarray(counts, dtype=np.int64)
    if lengths.sum() != height * width or np.any(lengths < 0):
        raise ValueError(f"run lengths cover {lengths.sum()} pixels, but the image has {height} x {width}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def _polygons(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int] | None) -> np.ndarray:
    if size_hw is None:
        raise ValueError("polygons have no size of their own: give size_hw")
    canvas = Image.new("1", (size_hw[1], size_hw[0]))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon has {len(polygon)} numbers: expected x and y of three or more points")
        draw.polygon([float(value) for value in polygon], fill=1)
    return np.asarray(canvas, dtype=bool)


def _rle_size(segmentation: Any) -> tuple[int, int] | None:
    if not isinstance(segmentation, Mapping) or len(segmentation.get("size", ())) != 2:
        return None
    height, width = segmentation["size"]
    return int(height), int(width)


def _dictionary_scores(annotations: Sequence[Mapping[str, Any]]) -> list[float] | None:
    for key in ("predicted_iou", "score"):
        if annotations and all(key in one for one in annotations):
            return [one[key] for one in annotations]
    return None


def _panoptic(source: Mapping[str, Any]) -> tuple[list[np.ndarray], list[float] | None]:
    numbers = _numpy(source["segmentation"])
    if numbers.ndim != 2:
        raise ValueError(f"segmentation: expected a panoptic map (H, W), got {numbers.shape}")
    infos = source["segments_info"]
    return [numbers == info["id"] for info in infos], _dictionary_scores(infos)


def _arrays(source: Any) -> list[np.ndarray]:
    try:
        return [_inside(_numpy(one), 2) for one in source]
    except TypeError:
        raise ValueError(f"masks: expected an array (M, H, W) or a list of annotations, got {type(source).__name__}") from None


def _inside(array: np.ndarray, ndim: int) -> np.ndarray:
    if array.ndim != ndim or array.dtype.kind not in "biuf":
        raise ValueError(f"a mask: expected an array (H, W) of bool or numbers, got {array.shape} {array.dtype}")
    return array if array.dtype == bool else array > 0.5


def _numpy(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu()) if hasattr(values, "detach") else np.asarray(values)
