"""Augmented training crops for boundary networks: one random rotation, scale, flip and crop an image, then colour and blur.

Label maps are warped (nearest neighbour) before boundaries are taken from them, so that boundaries stay one pixel wide at
every scale and angle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from subobject.data.boundary_targets import annotator_fraction
from subobject.data.bsds500 import BsdsImage


@dataclass(frozen=True)
class CropOptions:
    """How training crops are drawn.

    Attributes:
        size: Side of the square crop in pixels.
        scale: Smallest and largest magnification; drawn uniformly in its logarithm.
        grey: Probability of dropping the colour.
        blur: Probability of a Gaussian blur (the paper uses 0.25).
        jitter: Largest relative change of contrast and of each channel's brightness.
    """

    size: int = 288
    scale: tuple[float, float] = (0.7, 1.5)
    grey: float = 0.2
    blur: float = 0.25
    jitter: float = 0.25


class BoundaryCrops:
    """Map-style data set of random crops; item ``i`` is the same on every run with the same seed.

    Args:
        images: Annotated images, read once into memory.
        length: Number of crops to offer; images are taken in turn.
        options: How crops are drawn.
        seed: Seed of all randomness.
    """

    def __init__(self, images: Sequence[BsdsImage], length: int, options: CropOptions, seed: int):
        self.pixels = [image.image() for image in images]
        self.labels = [image.labels().astype(np.uint8) for image in images]
        self.length = length
        self.options = options
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return ``pixels`` ``(S, S, 3)`` uint8 and ``target`` ``(S, S)`` float32, the share of annotators."""
        if not 0 <= index < self.length:
            raise IndexError(f"crop {index} of {self.length}")
        rng = np.random.default_rng((self.seed, index))
        which = index % len(self.pixels)
        pixels, labels = self.pixels[which], self.labels[which]
        size = self.options.size
        matrix = _random_affine(rng, pixels.shape[:2], size, self.options.scale)
        warped = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        warped_labels = np.stack(
            [
                cv2.warpAffine(one, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
                for one in labels
            ]
        )
        return {"pixels": _recolour(rng, warped, self.options), "target": annotator_fraction(warped_labels)}


def _random_affine(rng: np.random.Generator, size_hw: tuple[int, int], crop: int, scales: tuple[float, float]) -> np.ndarray:
    """Return the 2 x 3 matrix from image pixels to crop pixels; the crop's centre lies inside the image."""
    height, width = size_hw
    scale = float(np.exp(rng.uniform(np.log(scales[0]), np.log(scales[1]))))
    angle = rng.uniform(0, 2 * np.pi)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < 0.5:
        linear[:, 0] *= -1
    reach = min(crop / (2 * scale), 0.5 * min(height, width))
    centre = np.array([_between(rng, reach, width - reach), _between(rng, reach, height - reach)])
    return np.column_stack([linear, np.full(2, crop / 2) - linear @ centre])


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high)) if high > low else (low + high) / 2


def _recolour(rng: np.random.Generator, pixels: np.ndarray, options: CropOptions) -> np.ndarray:
    if rng.random() < options.blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, 1.5))
    image = pixels.astype(np.float32)
    if rng.random() < options.grey:
        image = np.broadcast_to(image.mean(axis=2, keepdims=True), image.shape)
    gain = 1 + rng.uniform(-options.jitter, options.jitter, size=3)
    contrast = 1 + rng.uniform(-options.jitter, options.jitter)
    mean = image.mean()
    return np.clip((image - mean) * contrast + mean * gain, 0, 255).astype(np.uint8)
