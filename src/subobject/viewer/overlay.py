"""Overlays: segment borders over the photograph, segments filled with their mean colour, numbered tokens."""

import cv2
import numpy as np

from subobject.structures import Segmentation

MAX_NUMBERED = 64
MAX_SIDE = 2048
_BORDER_RGB = (255, 230, 0)


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
    border = np.zeros(labels.shape, dtype=np.uint8)
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:-1] |= labels[:-1] != labels[1:]
    rim = cv2.dilate(border, np.ones((3, 3), np.uint8)).astype(bool)
    picture = image.copy()
    picture[rim] = picture[rim] // 2
    picture[border.astype(bool)] = _BORDER_RGB
    return picture


def draw_numbers(picture: np.ndarray, labels: np.ndarray, num_segments: int) -> np.ndarray:
    """Write the index of each segment at its innermost pixel; segments too small for the text stay empty."""
    picture = picture.copy()
    for i in range(num_segments):
        mask = np.pad((labels == i).astype(np.uint8), 1)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        _, radius, _, (x, y) = cv2.minMaxLoc(depth)
        if radius < 6:
            continue
        scale = min(0.8, radius / 22)
        (width, height), _ = cv2.getTextSize(str(i), cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        origin = (int(x - 1 - width / 2), int(y - 1 + height / 2))
        cv2.putText(picture, str(i), origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, str(i), origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


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
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image, filled = (cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (image, filled))
        labels = cv2.resize(labels.astype(np.float64), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    borders = draw_borders(image, labels)
    if segmentation.num_segments <= MAX_NUMBERED:
        filled = draw_numbers(filled, labels, segmentation.num_segments)
    return np.concatenate([borders, filled], axis=0 if width > 2 * height else 1)
