"""Overlays: segment borders over the photograph, segments filled with their mean colour, numbered tokens."""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from subobject.filters import nearest_marked
from subobject.geometry import resize_labels
from subobject.images import resize
from subobject.structures import Segmentation

MAX_NUMBERED = 64
MAX_SIDE = 2048
_BORDER_RGB = (255, 230, 0)
_LEAST_RADIUS = 6
_LARGEST_TEXT = 24


def mean_colours(image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
    """Return the mean colour of every segment, ``(N, 3)`` float64 in [0, 255], of an image ``(H, W, 3)`` uint8."""
    flat = segmentation.labels.ravel()
    sums = [np.bincount(flat, image[..., c].ravel(), minlength=segmentation.num_segments) for c in range(3)]
    return np.stack(sums, axis=1) / segmentation.areas[:, None]


def fill_segments(image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
    """Fill every segment with its mean colour, ``(H, W, 3)`` uint8."""
    return np.rint(mean_colours(image, segmentation)).astype(np.uint8)[segmentation.labels]


def draw_borders(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draw the borders between segments over an image.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        labels: Segment of each pixel, ``(H, W)`` int32.

    Returns:
        ``(H, W, 3)`` uint8; pixels whose right or lower neighbour belongs to another segment are yellow on a dark rim.
    """
    border = np.zeros(labels.shape, dtype=bool)
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:-1] |= labels[:-1] != labels[1:]
    framed = np.pad(border, 1)
    height, width = labels.shape
    rim = np.zeros_like(border)
    for dy, dx in np.ndindex(3, 3):
        rim |= framed[dy : dy + height, dx : dx + width]
    picture = image.copy()
    picture[rim] //= 2
    picture[border] = _BORDER_RGB
    return picture


def draw_numbers(picture: np.ndarray, labels: np.ndarray, num_segments: int) -> np.ndarray:
    """Write the index of each segment at its innermost pixel; segments too small for the text stay empty."""
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    for segment, y, x, radius in innermost(labels, num_segments):
        if radius >= _LEAST_RADIUS:
            font = _font(min(_LARGEST_TEXT, round(1.3 * radius)))
            draw.text((x, y), str(segment), "white", font, anchor="mm", stroke_width=1, stroke_fill="black")
    return np.array(canvas)


def innermost(labels: np.ndarray, num_segments: int) -> list[tuple[int, int, int, float]]:
    """Find the pixel of each segment that lies deepest inside.

    Args:
        labels: Segment of each pixel, ``(H, W)`` int32; a segment may be missing.
        num_segments: Number of segments, ``N``.

    Returns:
        ``(segment, y, x, radius)`` of each segment that is there, the first such pixel in raster order; the radius in pixels
        is its distance to the nearest pixel that has a 4-neighbour outside its own segment, plus 1.
    """
    framed = np.pad(labels, 1, constant_values=-1)
    here = framed[1:-1, 1:-1]
    rim = (here != framed[:-2, 1:-1]) | (here != framed[2:, 1:-1]) | (here != framed[1:-1, :-2]) | (here != framed[1:-1, 2:])
    depth, owner = nearest_marked(rim)[1].ravel(), labels.ravel()
    deepest = np.zeros(num_segments, dtype=np.float32)
    np.maximum.at(deepest, owner, depth)
    at = np.flatnonzero(depth == deepest[owner])
    segments, first = np.unique(owner[at], return_index=True)
    y, x = np.divmod(at[first], labels.shape[1])
    return list(zip(segments.tolist(), y.tolist(), x.tolist(), (deepest[segments] + 1).tolist(), strict=True))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def overlay(image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
    """Show an image with its segments: borders over the photograph, beside the segments in their mean colour.

    Up to ``MAX_NUMBERED`` segments are numbered as the tokens are. Pictures are at most ``MAX_SIDE`` pixels on a side.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        segmentation: Its segments.

    Returns:
        ``(h, 2 w, 3)`` uint8 RGB, or ``(2 h, w, 3)`` for images wider than 2 : 1.
    """
    filled, labels = fill_segments(image, segmentation), segmentation.labels
    height, width = labels.shape
    scale = min(1.0, MAX_SIDE / max(height, width))
    if scale < 1:
        size_hw = max(1, round(height * scale)), max(1, round(width * scale))
        image, filled = resize(image, size_hw), resize(filled, size_hw)
        labels = resize_labels(labels, size_hw)
    borders = draw_borders(image, labels)
    if segmentation.num_segments <= MAX_NUMBERED:
        filled = draw_numbers(filled, labels, segmentation.num_segments)
    return np.concatenate([borders, filled], axis=0 if width > 2 * height else 1)
