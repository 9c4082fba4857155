"""Training batches for segment autoencoders: crops of annotated segments, flipped, rescaled and recoloured.

An item is a whole batch of segments of similar length, because padding would waste most of the work otherwise: for each batch,
many (segment, scale) pairs are drawn, sorted by the length of their sequences, and one random run of neighbours is taken. Every
pair is equally likely to be taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from subobject.data.bsds500 import BsdsImage
from subobject.embeddings.sequence import PackedSegments, crop_sizes, gather


@dataclass(frozen=True)
class SegmentOptions:
    """How batches of segments are drawn.

    Attributes:
        batch: Segments a batch.
        context: Largest length of a sequence.
        annotators: Label maps used of each image, the first ones.
        min_area: Smallest segment in pixels.
        scale: Smallest and largest magnification, at most 1; drawn uniformly in its logarithm.
        flip: Probability of each of three flips: left-right, up-down, transposition.
        jitter: Largest relative change of contrast and of each channel's brightness.
        pool: Runs of ``batch`` candidates drawn to find one batch of similar length.
    """

    batch: int = 48
    context: int = 256
    annotators: int = 3
    min_area: int = 9
    scale: tuple[float, float] = (0.4, 1.0)
    flip: float = 0.5
    jitter: float = 0.25
    pool: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale is {self.scale}: use magnifications 0 < low <= high <= 1")


class SegmentCrops:
    """Map-style data set of batches; item ``i`` is the same on every run with the same seed.

    Args:
        images: Annotated images, read once into memory.
        length: Number of batches to offer.
        options: How batches are drawn.
        seed: Seed of all randomness.

    Raises:
        ValueError: If no segment is large enough.
    """

    def __init__(self, images: Sequence[BsdsImage], length: int, options: SegmentOptions, seed: int):
        self.pixels = [image.image() for image in images]
        self.maps: list[np.ndarray] = []
        rows = []
        for which, image in enumerate(images):
            for labels in image.labels()[: options.annotators]:
                components, boxes = split_components(labels, options.min_area)
                number = np.arange(len(boxes))[:, None]
                rows.append(np.hstack([np.full_like(number, which), np.full_like(number, len(self.maps)), number, boxes]))
                self.maps.append(components)
        self.segments = np.concatenate(rows) if rows else np.zeros((0, 7), dtype=np.int64)
        if len(self.segments) == 0:
            raise ValueError(f"no segment of {options.min_area} or more pixels in {len(images)} images")
        self.length = length
        self.options = options
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return ``pixels`` ``(batch, L, 4)`` float32 (see ``embeddings.sequence``) and ``sizes`` ``(batch, 2)`` int64."""
        if not 0 <= index < self.length:
            raise IndexError(f"batch {index} of {self.length}")
        options = self.options
        rng = np.random.default_rng((self.seed, index))
        low, high = np.log(options.scale)
        candidates = rng.integers(len(self.segments), size=options.batch * options.pool)
        scales = np.exp(rng.uniform(low, high, size=len(candidates)))
        boxes = self.segments[candidates, 3:]
        scaled = np.zeros_like(boxes)
        scaled[:, 2:] = np.maximum(1, np.rint((boxes[:, 2:] - boxes[:, :2]) * scales[:, None]))
        sizes = crop_sizes(scaled, options.context)
        order = np.argsort(sizes.prod(axis=1), kind="stable")
        first = int(rng.integers(options.pool)) * options.batch
        taken = order[first : first + options.batch]
        sequences = [self._sequence(rng, self.segments[candidates[i]], sizes[i]) for i in taken]
        lengths = [len(pixels) for pixels, _ in sequences]
        pixels = np.zeros((options.batch, max(lengths), 4), dtype=np.float32)
        for row, (sequence, _) in enumerate(sequences):
            pixels[row, : len(sequence)] = sequence
        return {"pixels": pixels, "sizes": np.array([size for _, size in sequences], dtype=np.int64)}

    def _sequence(self, rng: np.random.Generator, segment: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        which, number_of_map, number, x0, y0, x1, y1 = segment.tolist()
        image = self.pixels[which][y0:y1, x0:x1]
        labels = np.where(self.maps[number_of_map][y0:y1, x0:x1] == number, 0, -1)
        box = np.array([[0, 0, x1 - x0, y1 - y0]])
        crop = gather(image, labels, box, size[None]).pixels.reshape(*size, 4)
        for flip in (lambda x: x[:, ::-1], lambda x: x[::-1], lambda x: x.transpose(1, 0, 2)):
            if rng.random() < self.options.flip:
                crop = flip(crop)
        sequence = np.ascontiguousarray(crop).reshape(-1, 4)
        inside = sequence[:, 3] > 0
        sequence[inside, :3] = _recolour(rng, sequence[inside, :3], self.options.jitter)
        return sequence, crop.shape[:2]


def annotated_segments(
    image: BsdsImage, annotators: int, context: int, min_area: int = 9
) -> list[tuple[PackedSegments, np.ndarray]]:
    """Pack the segments of the first annotators of an image, as they are.

    Returns:
        For each annotator the segments, and their half-open boxes ``(N, 4)`` int64.
    """
    pixels = image.image()
    items = []
    for labels in image.labels()[:annotators]:
        components, boxes = split_components(labels, min_area)
        items.append((gather(pixels, components, boxes, crop_sizes(boxes, context)), boxes))
    return items


def split_components(labels: np.ndarray, min_area: int) -> tuple[np.ndarray, np.ndarray]:
    """Split every segment of a label map into its 4-connected components.

    Args:
        labels: Segment of each pixel, ``(H, W)`` integer, values from 0.
        min_area: Smallest component to keep, in pixels.

    Returns:
        Component of each pixel, ``(H, W)`` int16, -1 where it was too small; and the half-open boxes ``(x0, y0, x1, y1)`` of
        the components, ``(N, 4)`` int64.
    """
    components = np.full(labels.shape, -1, dtype=np.int16)
    boxes: list[list[int]] = []
    for value in np.unique(labels):
        count, parts, stats, _ = cv2.connectedComponentsWithStats((labels == value).astype(np.uint8), connectivity=4)
        for part in range(1, count):
            x, y, width, height, area = stats[part].tolist()
            if area >= min_area:
                window = (slice(y, y + height), slice(x, x + width))
                components[window][parts[window] == part] = len(boxes)
                boxes.append([x, y, x + width, y + height])
    return components, np.array(boxes, dtype=np.int64).reshape(-1, 4)


def _recolour(rng: np.random.Generator, colours: np.ndarray, jitter: float) -> np.ndarray:
    """Change contrast and channel brightness of ``(n, 3)`` colours in [0, 1]."""
    gain = 1 + rng.uniform(-jitter, jitter, size=3)
    contrast = 1 + rng.uniform(-jitter, jitter)
    mean = colours.mean()
    return np.clip((colours - mean) * contrast + mean * gain, 0, 1).astype(np.float32)
