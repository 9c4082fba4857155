"""Boundaries without a network: the gradient of a smoothed image in CIELAB, a baseline and a fallback."""

import cv2
import numpy as np

from subobject.boundaries import check_image
from subobject.structures import Boundaries

SMOOTHING = 1.5
# Lab units a pixel that count as a certain boundary: about the 99.9th percentile over the BSDS500 training photographs.
FULL_SCALE = 16.0
_KERNEL = 11
_HALO = _KERNEL // 2 + 1
_STRIP = 512
# Below this, in Lab units a pixel, a magnitude is rounding error: a flat image has no boundary at all.
_ROUNDING = 1e-4


class Gradient:
    """Colour gradient as boundary map: ``min(1, |gradient of Lab| / 16)`` after a Gaussian of 1.5 px.

    The magnitude is the root of the squared Scharr derivatives summed over L, a and b, in Lab units a pixel. Computed in strips,
    so that memory beyond the result does not grow with the height of the image.

    Example:
        >>> float(Gradient()([np.full((4, 5, 3), 99, np.uint8)])[0].probability.max())
        0.0
    """

    def __call__(self, images: list[np.ndarray]) -> list[Boundaries]:
        """Map RGB images, each ``(H, W, 3)`` uint8, to boundary maps of the same sizes."""
        return [Boundaries(_gradient(image)) for image in images]


def _gradient(image: np.ndarray) -> np.ndarray:
    check_image(image)
    height = image.shape[0]
    result = np.empty(image.shape[:2], dtype=np.float32)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        first, last = max(0, top - _HALO), min(height, bottom + _HALO)
        magnitude = _magnitude(image[first:last])
        result[top:bottom] = magnitude[top - first : bottom - first]
    return result


def _magnitude(pixels: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    smooth = cv2.GaussianBlur(lab, (_KERNEL, _KERNEL), SMOOTHING, borderType=cv2.BORDER_REPLICATE)
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    squares = np.square(across) + np.square(down)
    magnitude = np.sqrt(squares.sum(axis=2))
    magnitude[magnitude < _ROUNDING] = 0
    return np.minimum(magnitude / FULL_SCALE, 1)
