"""Training batches for segment autoencoders: crops of annotated segments, flipped, rescaled and recoloured.

An item is a whole batch of segments of similar length, because padding would waste most of the work otherwise: for each batch,
many (segment, scale) pairs are drawn, sorted by the length of their sequences, and one random run of neighbours is taken. Every
pair is equally likely to be taken.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from subobject.data import AnnotatedImage
from subobject.data.draws import Draws
from subobject.embeddings.sequence import PackedSegments, crop_sizes, gather
from subobject.geometry import label_areas, label_boxes
from subobject.segments.components import components


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
        photographs: Images that the segments of a batch come from, where the data set is a stream.
    """

    batch: int = 48
    context: int = 256
    annotators: int = 3
    min_area: int = 9
    scale: tuple[float, float] = (0.4, 1.0)
    flip: float = 0.5
    jitter: float = 0.25
    pool: int = 16
    photographs: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale is {self.scale}: use magnifications 0 < low <= high <= 1")


@dataclass(frozen=True, eq=False)
class SegmentPool:
    """The segments of some images, to draw batches from.

    Attributes:
        pixels: The images, ``(H, W, 3)`` uint8 each.
        maps: Maps of components, one a layer of annotations, as ``split_components`` makes them.
        segments: For each segment its image, its map, its number there and its box ``(x0, y0, x1, y1)``, ``(M, 7)`` int64.
    """

    pixels: list[np.ndarray]
    maps: list[np.ndarray]
    segments: np.ndarray

    @classmethod
    def of(cls, images: Iterable[AnnotatedImage], options: SegmentOptions) -> "SegmentPool":
        """Read images and split their annotations into components."""
        pixels: list[np.ndarray] = []
        maps: list[np.ndarray] = []
        rows = [np.zeros((0, 7), dtype=np.int64)]
        for which, image in enumerate(images):
            pixels.append(image.image())
            for layer in (layer for stack in image.layers()[: options.annotators] for layer in stack):
                parts, boxes = split_components(layer, options.min_area)
                number = np.arange(len(boxes))[:, None]
                rows.append(np.hstack([np.full_like(number, which), np.full_like(number, len(maps)), number, boxes]))
                maps.append(parts)
        return cls(pixels, maps, np.concatenate(rows))

    def draw(self, rng: np.random.Generator, options: SegmentOptions) -> dict[str, np.ndarray]:
        """Draw ``pixels`` ``(batch, L, 4)`` float32 (see ``embeddings.sequence``) and ``sizes`` ``(batch, 2)`` int64."""
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
        sequences = [self._sequence(rng, self.segments[candidates[i]], sizes[i], options) for i in taken]
        lengths = [len(pixels) for pixels, _ in sequences]
        pixels = np.zeros((options.batch, max(lengths), 4), dtype=np.float32)
        for row, (sequence, _) in enumerate(sequences):
            pixels[row, : len(sequence)] = sequence
        return {"pixels": pixels, "sizes": np.array([size for _, size in sequences], dtype=np.int64)}

    def _sequence(
        self, rng: np.random.Generator, segment: np.ndarray, size: np.ndarray, options: SegmentOptions
    ) -> tuple[np.ndarray, tuple[int, int]]:
        which, number_of_map, number, x0, y0, x1, y1 = segment.tolist()
        image = self.pixels[which][y0:y1, x0:x1]
        labels = np.where(self.maps[number_of_map][y0:y1, x0:x1] == number, 0, -1)
        box = np.array([[0, 0, x1 - x0, y1 - y0]])
        crop = gather(image, labels, box, size[None]).pixels.reshape(*size, 4)
        for flip in (lambda x: x[:, ::-1], lambda x: x[::-1], lambda x: x.transpose(1, 0, 2)):
            if rng.random() < options.flip:
                crop = flip(crop)
        sequence = np.ascontiguousarray(crop).reshape(-1, 4)
        inside = sequence[:, 3] > 0
        sequence[inside, :3] = _recolour(rng, sequence[inside, :3], options.jitter)
        return sequence, crop.shape[:2]


class SegmentCrops(Draws):
    """Batches of segments as a data set.

    Args:
        images: Annotated images, read once into memory.
        length: Number of batches to offer.
        options: How batches are drawn.
        seed: Seed of all randomness.

    Raises:
        ValueError: If no segment is large enough.
    """

    def __init__(self, images: Sequence[AnnotatedImage], length: int, options: SegmentOptions, seed: int):
        self.pool = SegmentPool.of(images, options)
        if len(self.pool.segments) == 0:
            raise ValueError(f"no segment of {options.min_area} or more pixels in {len(images)} images")
        super().__init__(length, seed)
        self.options = options

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return one batch; see ``SegmentPool.draw``."""
        return self.pool.draw(rng, self.options)


def annotated_segments(
    image: AnnotatedImage, annotators: int, context: int, min_area: int = 9
) -> list[tuple[PackedSegments, np.ndarray]]:
    """Pack the segments of the first annotators of an image, as they are.

    Returns:
        For each layer of an annotator the segments, and their half-open boxes ``(N, 4)`` int64.
    """
    pixels = image.image()
    items = []
    for layer in (layer for stack in image.layers()[:annotators] for layer in stack):
        parts, boxes = split_components(layer, min_area)
        items.append((gather(pixels, parts, boxes, crop_sizes(boxes, context)), boxes))
    return items


def split_components(labels: np.ndarray, min_area: int) -> tuple[np.ndarray, np.ndarray]:
    """Split every segment of a label map into its 4-connected components.

    Args:
        labels: Segment of each pixel, ``(H, W)`` integer; negative where there is none.
        min_area: Smallest component to keep, in pixels.

    Returns:
        Component of each pixel, ``(H, W)`` int16 (int32 beyond 32,767 of them), -1 where it was too small or there is none; and
        the half-open boxes ``(x0, y0, x1, y1)`` of the components, ``(N, 4)`` int64.
    """
    parts, count = components(labels)
    kept = label_areas(parts, count) >= min_area
    kept[parts[labels < 0]] = False
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    kind = np.int16 if kept.sum() <= np.iinfo(np.int16).max else np.int32
    return number.astype(kind)[parts], label_boxes(parts, count)[kept].astype(np.int64)


def _recolour(rng: np.random.Generator, colours: np.ndarray, jitter: float) -> np.ndarray:
    """Change contrast and channel brightness of ``(n, 3)`` colours in [0, 1]."""
    gain = 1 + rng.uniform(-jitter, jitter, size=3)
    contrast = 1 + rng.uniform(-jitter, jitter)
    mean = colours.mean()
    return np.clip((colours - mean) * contrast + mean * gain, 0, 1).astype(np.float32)
