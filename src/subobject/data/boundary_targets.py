"""Targets of boundary networks: pure array functions from annotated segments to boundary maps.

Annotations are stacks of label maps, as ``data.AnnotatedImage.layers`` gives them: a label map is a stack of one, overlapping
masks are a stack of as many layers as they need. -1 marks pixels without a segment.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from subobject.geometry import label_boxes
from subobject.registry import lookup

Draw = Callable[[np.ndarray], np.ndarray]


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


def contour_lines(labels: np.ndarray, width: int = 3) -> np.ndarray:
    """Draw the outer contour of every segment, as DirectSAM was trained on (arXiv 2402.14327).

    The contours are OpenCV's, through the outermost pixels of a segment, also where it ends at the edge of the image; two
    neighbours draw one line each, so that a border between them is ``width + 1`` pixels wide. Lines are widened here, since
    OpenCV 5 draws a thickness of 3 with 5 pixels.

    Args:
        labels: Segment of each pixel, ``(H, W)`` integer, -1 for none.
        width: Of the line in pixels, odd; 3 as published.

    Returns:
        ``(H, W)`` bool.
    """
    canvas = np.zeros(labels.shape, dtype=np.uint8)
    count = int(labels.max()) + 1
    boxes = label_boxes(labels + 1, count + 1)[1:]
    for segment, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        if x0 < x1:
            inside = (labels[y0:y1, x0:x1] == segment).astype(np.uint8)
            contours = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
            cv2.drawContours(canvas, contours, -1, 1, 1, offset=(x0, y0))
    return cv2.dilate(canvas, _disc(width / 2)) > 0


def border_band(labels: np.ndarray, radius: float = 2.5) -> np.ndarray:
    """Mark dilation minus erosion of every segment, as EPOC was trained on (arXiv 2402.14327v3).

    A pixel is marked where the disc around it holds pixels of two segments, or of one and of none: so dilation and erosion of
    all segments of a layer are the largest and the smallest label in the disc. Beyond the image there is nothing.

    Args:
        labels: Segment of each pixel, ``(H, W)`` integer, -1 for none.
        radius: Of the disc in pixels, at least 1; about 2.5 as published.

    Returns:
        ``(H, W)`` bool.
    """
    disc = _disc(radius)
    values = labels.astype(np.float32)
    return cv2.dilate(values, disc) != cv2.erode(values, disc)


def _disc(radius: float) -> np.ndarray:
    reach = int(radius)
    steps = np.arange(-reach, reach + 1)
    return (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)


@dataclass(frozen=True)
class TargetOptions:
    """How annotations become targets.

    Attributes:
        kind: ``changes``: one pixel wide, where the label changes. ``contours``: lines along the contours (DirectSAM).
            ``band``: dilation minus erosion (EPOC).
        width: Width of the lines of ``contours`` in pixels.
        radius: Radius of the disc of ``band`` in pixels.
        annotators: ``mean``: one map, the share of annotators who drew a boundary. ``each``: one map an annotator, for a loss
            that treats them apart.
    """

    kind: str = "changes"
    width: int = 3
    radius: float = 2.5
    annotators: str = "mean"

    def __post_init__(self) -> None:
        lookup(_KINDS, self.kind, "kind of target")
        lookup(dict.fromkeys(("mean", "each")), self.annotators, "treatment of annotators")
        if self.width < 1 or self.width % 2 == 0 or self.radius < 1:
            raise ValueError(
                f"width is {self.width} and radius {self.radius}: use an odd width, and a radius of 1 or more pixels"
            )

    def draw(self, annotations: Iterable[np.ndarray]) -> np.ndarray:
        """Turn the annotations of one image into its target.

        Args:
            annotations: One stack of label maps an annotator, ``(L, H, W)`` integer; at least one.

        Returns:
            ``(1, H, W)`` or, for ``each``, ``(A, H, W)``, float32 in [0, 1].
        """
        maps = annotator_maps(annotations, _KINDS[self.kind](self))
        return maps.astype(np.float32) if self.annotators == "each" else annotator_fraction(maps)[None]


_KINDS: dict[str, Callable[[TargetOptions], Draw]] = {
    "changes": lambda options: label_changes,
    "contours": lambda options: partial(contour_lines, width=options.width),
    "band": lambda options: partial(border_band, radius=options.radius),
}


def annotator_maps(annotations: Iterable[np.ndarray], draw: Draw = label_changes) -> np.ndarray:
    """Draw the boundaries of every annotator: those of all layers together.

    Args:
        annotations: One stack ``(L, H, W)`` integer an annotator; at least one.
        draw: Boundaries of a label map.

    Returns:
        ``(A, H, W)`` bool.
    """
    return np.stack([np.any([draw(layer) for layer in stack], axis=0) for stack in annotations])


def annotator_fraction(maps: np.ndarray) -> np.ndarray:
    """Return the share of annotators who drew a boundary at each pixel: ``(A, H, W)`` bool to ``(H, W)`` float32 in [0, 1]."""
    return maps.mean(axis=0, dtype=np.float32)
