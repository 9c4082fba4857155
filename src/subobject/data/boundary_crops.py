"""Augmented training crops for boundary networks: one random rotation, scale, flip and crop an image, then colour and blur.

Label maps are warped (nearest neighbour) before boundaries are taken from them, so that boundaries stay one pixel wide at
every scale and angle.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from subobject.data import AnnotatedImage
from subobject.data.boundary_targets import TargetOptions
from subobject.data.draws import Draws
from subobject.geometry import resize_labels
from subobject.images import resize
from subobject.registry import lookup

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CropOptions:
    """How training crops are drawn.

    Attributes:
        size: Side of the square crop in pixels.
        view: ``random``: a random rotation, scale, flip and place. ``whole``: the whole image squeezed into the square, as
            SegFormer's processor does.
        scale: Smallest and largest magnification; drawn uniformly in its logarithm.
        rotation: Largest angle of the rotation in degrees, to either side; drawn uniformly.
        flip: Probability of a flip from left to right.
        grey: Probability of dropping the colour.
        blur: Probability of a Gaussian blur (the paper uses 0.25).
        jitter: Largest relative change of contrast and of each channel's brightness.
        memory: Decoded images to keep, in megabytes; the others are read again.
    """

    size: int = 288
    view: str = "random"
    scale: tuple[float, float] = (0.7, 1.5)
    rotation: float = 180.0
    flip: float = 0.5
    grey: float = 0.2
    blur: float = 0.25
    jitter: float = 0.25
    memory: int = 2000

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(("random", "whole")), self.view, "view")
        if self.size < 8 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"size is {self.size} and scale {self.scale}: use 8 or more pixels, and 0 < low <= high")
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation is {self.rotation}: use degrees from 0 to 180")


class BoundaryCrops(Draws):
    """Random crops as a data set.

    Images are read when they are first needed, and kept while there is room. One that cannot be read is reported, and the next
    takes its place.

    Args:
        images: Annotated images.
        length: Number of crops to offer; images are taken in turn.
        options: How crops are drawn.
        seed: Seed of all randomness.
        target: How annotations become targets.
    """

    def __init__(
        self, images: Sequence[AnnotatedImage], length: int, options: CropOptions, seed: int, target: TargetOptions | None = None
    ):
        super().__init__(length, seed)
        self.images = images
        self.options = options
        self.target = target or TargetOptions()
        self._kept: dict[int, Decoded] = {}
        self._room = options.memory * 1_000_000

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return one crop; see ``draw_crop``."""
        pixels, annotations = self._readable(index % len(self.images))
        return draw_crop(pixels, annotations, rng, self.options, self.target)

    def _readable(self, which: int) -> "Decoded":
        for step in range(len(self.images)):
            try:
                return self._decoded((which + step) % len(self.images))
            except ValueError as error:
                logger.warning("%s: the next image takes its place", error)
        raise ValueError(f"none of the {len(self.images)} images can be read")

    def _decoded(self, which: int) -> "Decoded":
        if which in self._kept:
            return self._kept[which]
        decoded = decode(self.images[which])
        size = decoded[0].nbytes + sum(stack.nbytes for stack in decoded[1])
        if size <= self._room:
            self._room -= size
            self._kept[which] = decoded
        return decoded


Decoded = tuple[np.ndarray, list[np.ndarray]]


def decode(image: AnnotatedImage) -> Decoded:
    """Read an image: pixels ``(H, W, 3)`` uint8, and one stack ``(L, H, W)`` int16 an annotator, -1 for no segment.

    Raises:
        ValueError: If a file cannot be read, or the sizes differ.
    """
    pixels, annotations = image.image(), [_narrow(stack) for stack in image.layers()]
    for stack in annotations:
        if stack.shape[1:] != pixels.shape[:2]:
            raise ValueError(f"image {image.id} has size {pixels.shape[:2]}, but its annotation {stack.shape[1:]}")
    return pixels, annotations


def draw_crop(
    pixels: np.ndarray, annotations: list[np.ndarray], rng: np.random.Generator, options: CropOptions, target: TargetOptions
) -> dict[str, np.ndarray]:
    """Draw one crop of a decoded image.

    Returns:
        ``pixels`` ``(S, S, 3)`` uint8 and ``target`` ``(1, S, S)``, or ``(A, S, S)`` for single annotators, float32 in [0, 1].
    """
    view = _random_view if options.view == "random" else _whole_view
    warped, stacks = view(pixels, annotations, rng, options)
    return {"pixels": _recolour(rng, warped, options), "target": target.draw(stacks)}


def _random_view(
    pixels: np.ndarray, annotations: list[np.ndarray], rng: np.random.Generator, options: CropOptions
) -> tuple[np.ndarray, list[np.ndarray]]:
    square = (options.size, options.size)
    matrix = _random_affine(rng, pixels.shape[:2], options)
    border = cv2.BORDER_REFLECT_101
    stacks = [
        np.stack([cv2.warpAffine(layer, matrix, square, flags=cv2.INTER_NEAREST, borderMode=border) for layer in stack])
        for stack in annotations
    ]
    return cv2.warpAffine(pixels, matrix, square, flags=cv2.INTER_LINEAR, borderMode=border), stacks


def _whole_view(
    pixels: np.ndarray, annotations: list[np.ndarray], rng: np.random.Generator, options: CropOptions
) -> tuple[np.ndarray, list[np.ndarray]]:
    square = (options.size, options.size)
    squeezed = resize(pixels, square)
    stacks = [np.stack([resize_labels(layer, square) for layer in stack]) for stack in annotations]
    if rng.random() < options.flip:
        return squeezed[:, ::-1], [stack[:, :, ::-1] for stack in stacks]
    return squeezed, stacks


def _random_affine(rng: np.random.Generator, size_hw: tuple[int, int], options: CropOptions) -> np.ndarray:
    """Return the 2 x 3 matrix from image pixels to crop pixels; the crop's centre lies inside the image."""
    height, width = size_hw
    low, high = options.scale
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    angle = np.radians(rng.uniform(-options.rotation, options.rotation))
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < options.flip:
        linear[:, 0] *= -1
    reach = min(options.size / (2 * scale), 0.5 * min(height, width))
    centre = np.array([_between(rng, reach, width - reach), _between(rng, reach, height - reach)])
    return np.column_stack([linear, np.full(2, options.size / 2) - linear @ centre])


def _narrow(stack: np.ndarray) -> np.ndarray:
    if stack.max() > np.iinfo(np.int16).max:
        stack = np.where(stack < 0, -1, np.unique(stack, return_inverse=True)[1].reshape(stack.shape))
    return stack.astype(np.int16)


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
