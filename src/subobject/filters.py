"""Filters of pictures and maps, compiled: resampling, separable convolution, CIELAB, and the nearest marked pixel.

Each runs on one thread and gives the same bytes on every run. Beyond the edges of a picture its outermost pixels go on. Importing
this module loads numba; modules that are part of the front import it inside the function that needs it.
"""

from collections.abc import Callable

import numpy as np
from numba import njit

_STRIP = 512
_CELLS = 8192

# Linear sRGB to XYZ over that of white, D65.
_XYZ = np.array(
    [
        [0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456],
        [0.212671, 0.715160, 0.072169],
        [0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754],
    ]
).astype(np.float32)


def _linear_light() -> np.ndarray:
    """Return the linear intensity of each of the 256 sRGB values, in [0, 1]."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _lightness_response() -> np.ndarray:
    """Return CIELAB's ``f``, cube root with a linear foot, at ``i / _CELLS``."""
    value = np.arange(_CELLS + 1) / _CELLS
    return np.where(value > (6 / 29) ** 3, np.cbrt(value), value * (29 / 6) ** 2 / 3 + 4 / 29).astype(np.float32)


_LINEAR = _linear_light()
_RESPONSE = _lightness_response()


def rgb_to_lab(pixels: np.ndarray) -> np.ndarray:
    """Convert sRGB to CIELAB under D65 (CIE 15:2004), within 0.01 of the exact value.

    Args:
        pixels: ``(H, W, 3)`` uint8.

    Returns:
        ``(H, W, 3)`` float32: L in [0, 100], a and b in about [-128, 128].
    """
    lab = np.empty(pixels.shape, np.float32)
    _rgb_to_lab(np.ascontiguousarray(pixels), _LINEAR, _XYZ, _RESPONSE, lab)
    return lab


def gaussian_kernel(sigma: float, radius: int) -> np.ndarray:
    """Sample a Gaussian at ``-radius .. radius`` pixels; ``(2 radius + 1,)`` float32 with sum 1."""
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    return (weights / weights.sum()).astype(np.float32)


def convolve(values: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Filter with a separable kernel.

    Args:
        values: ``(H, W)`` or ``(H, W, C)``, uint8 or float32.
        down: Weights along y, the first for the pixels above; an odd number.
        across: Weights along x, the first for the pixels to the left; an odd number.

    Returns:
        The same shape and type; of uint8 rounded, and defined where no weight is negative and they sum to 1.
    """
    rows = np.ascontiguousarray(values).reshape(len(values), -1)
    result = np.empty_like(rows)
    down, across = np.asarray(down, dtype=np.float32), np.asarray(across, dtype=np.float32)
    _convolve(rows, down, across, _channels(values), _rounding(values), result)
    return result.reshape(values.shape)


def resample(pixels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize with half-pixel centres: exact average of areas along a side that shrinks, linear along one that grows.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)``, uint8 or float32.
        size_hw: New height and width, at least 1.

    Returns:
        The same type at the new size; uint8 is rounded once, at the end.
    """
    height, width = size_hw
    channels = _channels(pixels)
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    result = np.empty((height, width * channels), pixels.dtype)
    _resample(rows, *_taps(pixels.shape[0], height), *_taps(pixels.shape[1], width), channels, _rounding(pixels), result)
    return result.reshape(height, width, *pixels.shape[2:])


def in_strips(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray, reach: int) -> np.ndarray:
    """Apply a filter to strips of an image, so that its memory does not grow with the height.

    Args:
        function: Image ``(h, W, 3)`` to map ``(h, W)`` float32.
        image: ``(H, W, 3)`` uint8.
        reach: How many pixels above and below a pixel its result depends on.

    Returns:
        ``(H, W)`` float32.
    """
    height = len(image)
    result = np.empty(image.shape[:2], dtype=np.float32)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        first = max(0, top - reach)
        result[top:bottom] = function(image[first : bottom + reach])[top - first : bottom - first]
    return result


def nearest_marked(marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the marked pixel nearest to each pixel, by the exact Euclidean distance between centres.

    The algorithm is that of Felzenszwalb and Huttenlocher, *Distance Transforms of Sampled Functions*, Theory of Computing
    2012. Of marked pixels at equal distance, that with the smaller x is taken, then that with the smaller y.

    Args:
        marked: ``(H, W)`` bool, at least one pixel true.

    Returns:
        Index of the nearest marked pixel into the flattened array, ``(H, W)`` int32, and its distance in pixels, ``(H, W)``
        float32.

    Raises:
        ValueError: If no pixel is marked.
    """
    if not marked.any():
        raise ValueError("marked: expected at least one pixel that is true")
    index, distance = np.empty(marked.shape, np.int32), np.empty(marked.shape, np.float32)
    _nearest_marked(np.ascontiguousarray(marked), index, distance)
    return index, distance


def _channels(values: np.ndarray) -> int:
    return 1 if values.ndim == 2 else values.shape[2]


def _rounding(values: np.ndarray) -> np.float32:
    """Return what is added before a result is stored: half for integers, which are cut off."""
    return np.float32(0.5 if values.dtype == np.uint8 else 0)


def _taps(length: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Say which old pixels make each new one: the first of them, ``(new,)`` int64, and weights of it and those after it."""
    scale = length / new
    number = min(length, int(np.ceil(scale)) + 1)
    at = np.arange(new)[:, None]
    if new < length:
        first = np.minimum(np.floor(at * scale), length - number)
        old = first + np.arange(number)
        weights = np.clip(np.minimum(old + 1, (at + 1) * scale) - np.maximum(old, at * scale), 0, None)
    else:
        centre = np.clip((at + 0.5) * scale - 0.5, 0, length - 1)
        first = np.minimum(np.floor(centre), length - number)
        weights = np.clip(1 - np.abs(first + np.arange(number) - centre), 0, None)
    return first[:, 0].astype(np.int64), (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@njit(cache=True, nogil=True)
def _rgb_to_lab(pixels, linear, matrix, response, lab):
    height, width = pixels.shape[:2]
    f = np.empty(3, np.float32)
    last = len(response) - 1
    for y in range(height):
        for x in range(width):
            red, green, blue = linear[pixels[y, x, 0]], linear[pixels[y, x, 1]], linear[pixels[y, x, 2]]
            for i in range(3):
                at = (matrix[i, 0] * red + matrix[i, 1] * green + matrix[i, 2] * blue) * np.float32(last)
                cell = min(int(at), last - 1)
                f[i] = response[cell] + (at - np.float32(cell)) * (response[cell + 1] - response[cell])
            lab[y, x, 0] = np.float32(116) * f[1] - np.float32(16)
            lab[y, x, 1] = np.float32(500) * (f[0] - f[1])
            lab[y, x, 2] = np.float32(200) * (f[1] - f[2])


@njit(cache=True, nogil=True)
def _add(total, weight, values):
    for i in range(len(total)):
        total[i] += weight * np.float32(values[i])


@njit(cache=True, nogil=True)
def _convolve(values, down, across, channels, rounding, result):
    height, size = values.shape
    above, margin = len(down) // 2, len(across) // 2 * channels
    line = np.empty(size + 2 * margin, np.float32)
    inner = line[margin : margin + size]
    total = np.empty(size, np.float32)
    for y in range(height):
        inner[:] = 0
        for k in range(len(down)):
            _add(inner, down[k], values[min(max(y + k - above, 0), height - 1)])
        for i in range(margin):
            line[i] = inner[i % channels]
            line[margin + size + i] = inner[size - channels + i % channels]
        total[:] = rounding
        for k in range(len(across)):
            _add(total, across[k], line[k * channels : k * channels + size])
        result[y] = total


@njit(cache=True, nogil=True)
def _resample(pixels, rows, row_weights, columns, column_weights, channels, rounding, result):
    line = np.empty(pixels.shape[1], np.float32)
    for y in range(result.shape[0]):
        line[:] = 0
        for k in range(row_weights.shape[1]):
            _add(line, row_weights[y, k], pixels[rows[y] + k])
        for x in range(len(columns)):
            for c in range(channels):
                total = rounding
                for k in range(column_weights.shape[1]):
                    total += column_weights[x, k] * line[(columns[x] + k) * channels + c]
                result[y, x * channels + c] = total


@njit(cache=True, nogil=True)
def _nearest_marked(marked, index, distance):
    height, width = marked.shape
    # First along columns: the nearest marked row, -1 where the column has none.
    for y in range(height):
        for x in range(width):
            if marked[y, x]:
                index[y, x] = y
            else:
                index[y, x] = index[y - 1, x] if y > 0 else -1
    for y in range(height - 2, -1, -1):
        for x in range(width):
            below = index[y + 1, x]
            if below >= 0 and (index[y, x] < 0 or below - y < y - index[y, x]):
                index[y, x] = below
    # Then along rows: the lower envelope of the parabolas (x - site)^2 + height[site].
    rows = np.empty(width, np.int64)
    heights = np.empty(width, np.int64)
    sites = np.empty(width, np.int64)
    starts = np.empty(width, np.float64)
    for y in range(height):
        count = 0
        for x in range(width):
            rows[x] = index[y, x]
            if rows[x] < 0:
                continue
            heights[x] = (rows[x] - y) ** 2
            start = -np.inf
            while count > 0:
                site = sites[count - 1]
                start = (heights[x] + x * x - heights[site] - site * site) / (2 * (x - site))
                if start > starts[count - 1]:
                    break
                count -= 1
                start = -np.inf
            sites[count], starts[count] = x, start
            count += 1
        k = 0
        for x in range(width):
            while k + 1 < count and starts[k + 1] < x:
                k += 1
            site = sites[k]
            index[y, x] = rows[site] * width + site
            distance[y, x] = np.sqrt(np.float64(heights[site] + (x - site) ** 2))
