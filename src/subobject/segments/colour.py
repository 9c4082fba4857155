"""Colour gradient of an image: the boundary strength that needs no network."""

import cv2
import numpy as np
from numba import njit

_SMOOTHING_PX = 1.0


def colour_gradient(image: np.ndarray) -> np.ndarray:
    """Compute the largest CIE Lab difference of each pixel to its 4-neighbours, after slight smoothing.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.

    Returns:
        ``(H, W)`` float32 in [0, 1]; 1 stands for a difference of 100, that of black to white.
    """
    smooth = cv2.GaussianBlur(image, (5, 5), _SMOOTHING_PX, borderType=cv2.BORDER_REPLICATE)
    return _largest_difference(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB))


@njit(cache=True, nogil=True)
def _squared_distance(lab, ya, xa, yb, xb):
    # OpenCV stores L * 255 / 100 in 8 bits, but a and b unscaled.
    lightness = (np.float32(lab[ya, xa, 0]) - np.float32(lab[yb, xb, 0])) * np.float32(100 / 255)
    green_red = np.float32(lab[ya, xa, 1]) - np.float32(lab[yb, xb, 1])
    blue_yellow = np.float32(lab[ya, xa, 2]) - np.float32(lab[yb, xb, 2])
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
