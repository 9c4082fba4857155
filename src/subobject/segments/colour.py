"""Colour gradient of an image: the boundary strength that needs no network."""

import numpy as np
from numba import njit

from subobject.filters import convolve, gaussian_kernel, in_strips, rgb_to_lab

_SMOOTHING_PX = 1.0
_RADIUS = 2


def colour_gradient(image: np.ndarray) -> np.ndarray:
    """Compute the largest CIE Lab difference of each pixel to its 4-neighbours, after slight smoothing.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.

    Returns:
        ``(H, W)`` float32 in [0, 1]; 1 stands for a difference of 100, that of black to white.
    """
    return in_strips(_smoothed_difference, image, _RADIUS + 1)


def _smoothed_difference(image: np.ndarray) -> np.ndarray:
    gaussian = gaussian_kernel(_SMOOTHING_PX, _RADIUS)
    return _largest_difference(rgb_to_lab(convolve(image, gaussian, gaussian)))


@njit(cache=True, nogil=True)
def _squared_distance(lab, ya, xa, yb, xb):
    lightness = lab[ya, xa, 0] - lab[yb, xb, 0]
    green_red = lab[ya, xa, 1] - lab[yb, xb, 1]
    blue_yellow = lab[ya, xa, 2] - lab[yb, xb, 2]
    return lightness * lightness + green_red * green_red + blue_yellow * blue_yellow


@njit(cache=True, nogil=True)
def _largest_difference(lab):
    height, width = lab.shape[:2]
    largest = np.zeros((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            if x + 1 < width:
                squared = _squared_distance(lab, y, x, y, x + 1)
                largest[y, x] = max(largest[y, x], squared)
                largest[y, x + 1] = max(largest[y, x + 1], squared)
            if y + 1 < height:
                squared = _squared_distance(lab, y, x, y + 1, x)
                largest[y, x] = max(largest[y, x], squared)
                largest[y + 1, x] = squared
    for y in range(height):
        for x in range(width):
            largest[y, x] = min(np.float32(1), np.sqrt(largest[y, x]) * np.float32(0.01))
    return largest
