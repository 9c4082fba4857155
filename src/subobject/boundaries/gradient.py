"""Boundaries without a network: the gradient of a smoothed image in CIELAB, a baseline and a fallback."""

import numpy as np

from subobject.boundaries import check_image
from subobject.filters import convolve, gaussian_kernel, in_strips, rgb_to_lab
from subobject.structures import Boundaries

SMOOTHING = 1.5
# Lab units a pixel that count as a certain boundary: about the 99.9th percentile over the BSDS500 training photographs.
FULL_SCALE = 16.0
_RADIUS = 5
_SMOOTH = np.array([3, 10, 3]) / 16
_DIFFERENCE = np.array([-1, 0, 1]) / 2
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
        for image in images:
            check_image(image)
        return [Boundaries(in_strips(_magnitude, image, _RADIUS + 1)) for image in images]


def _magnitude(pixels: np.ndarray) -> np.ndarray:
    gaussian = gaussian_kernel(SMOOTHING, _RADIUS)
    smooth = convolve(rgb_to_lab(pixels), gaussian, gaussian)
    squares = np.zeros(pixels.shape[:2], dtype=np.float32)
    for down, across in ((_SMOOTH, _DIFFERENCE), (_DIFFERENCE, _SMOOTH)):
        derivative = convolve(smooth, down, across)
        squares += np.einsum("yxc,yxc->yx", derivative, derivative)
    magnitude = np.sqrt(squares, out=squares)
    magnitude[magnitude < _ROUNDING] = 0
    return np.minimum(magnitude / FULL_SCALE, 1)
