"""Segment crop <-> sequence of pixels in row order: the one convention that every sequence embedder shares.

A segment is the crop of its tight box, flattened in row order; a pixel is four numbers, RGB in [0, 1] (zero outside the segment)
and the mask. A crop with ``h * w <= context`` is exact; a larger one is scaled down to at most ``context`` cells with its
aspect ratio kept (paper: arXiv 2402.14327, section 2.2). A cell of a scaled crop holds the mean colour of the segment's own
pixels inside it, weighted by overlap, and as mask the share of its area that the segment covers; nothing is thresholded, so
that thin segments survive.

Sequences of many segments are packed: their pixels lie behind each other, told apart by ``offsets``. Cell ``i`` of a crop of
size ``(h, w)`` is row ``i // w`` and column ``i % w``; networks derive positions from ``sizes`` alone.
"""

from dataclasses import dataclass

import numba
import numpy as np

from subobject.images import resize
from subobject.structures import Segmentation

LAYOUT_VERSION = 1
"""Version of this convention; weights trained with another one do not fit."""

BUCKET_RATIO = 1.15
"""Largest ratio of the longest to the shortest sequence of a bucket: padding costs at most this factor."""

_FLOOR = np.float32(1e-6)


@dataclass(frozen=True, eq=False)
class PackedSegments:
    """Sequences of ``N`` segments behind each other.

    Attributes:
        pixels: RGB in [0, 1], zero outside the mask, and the mask in [0, 1]; ``(P, 4)`` float32.
        sizes: Height and width ``(h, w)`` of each crop, ``(N, 2)`` int32.
        offsets: Sequence ``i`` is ``pixels[offsets[i] : offsets[i + 1]]``, ``(N + 1,)`` int64.
    """

    pixels: np.ndarray
    sizes: np.ndarray
    offsets: np.ndarray

    @classmethod
    def zeros(cls, sizes: np.ndarray) -> "PackedSegments":
        """Return sequences of zeros for crops of sizes ``(h, w)``, ``(N, 2)`` int32."""
        offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
        np.cumsum(sizes.astype(np.int64).prod(axis=1), out=offsets[1:])
        return cls(np.zeros((offsets[-1], 4), dtype=np.float32), sizes, offsets)

    def __len__(self) -> int:
        """Return the number of segments, ``N``."""
        return len(self.sizes)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the sequence of one segment, ``(h * w, 4)`` float32."""
        return self.pixels[self.offsets[index] : self.offsets[index + 1]]


def crop_size(box_wh: tuple[int, int], context: int) -> tuple[int, int]:
    """Return height and width of the crop of one box.

    Args:
        box_wh: Width and height of the box in pixels, both at least 1.
        context: Largest number of cells, at least 1.

    Example:
        >>> crop_size((16, 64), 1024), crop_size((200, 100), 1024), crop_size((5000, 1), 1024)
        ((64, 16), (22, 45), (1, 1024))
    """
    width, height = box_wh
    ((h, w),) = crop_sizes(np.array([[0, 0, width, height]]), context).tolist()
    return h, w


def crop_sizes(boxes: np.ndarray, context: int) -> np.ndarray:
    """Compute the crop sizes of many boxes.

    Args:
        boxes: Half-open pixel boxes ``(x0, y0, x1, y1)``, ``(N, 4)`` integer.
        context: Largest number of cells, at least 1.

    Returns:
        ``(h, w)`` with ``1 <= h * w <= context``, never larger than the box, ``(N, 2)`` int32.

    Raises:
        ValueError: If ``context`` is below 1.
    """
    if context < 1:
        raise ValueError(f"context is {context}: use 1 or more")
    width, height = (boxes[:, 2] - boxes[:, 0]).astype(np.int64), (boxes[:, 3] - boxes[:, 1]).astype(np.int64)
    exact = width * height <= context
    scale = np.sqrt(context / (width * height))
    h = np.clip(np.floor(height * scale).astype(np.int64), 1, context)
    w = np.clip(np.floor(width * scale).astype(np.int64), 1, context // h)
    h = np.minimum(h, context // w)
    return np.stack([np.where(exact, height, h), np.where(exact, width, w)], axis=1).astype(np.int32)


def pack(image: np.ndarray, segmentation: Segmentation, context: int) -> PackedSegments:
    """Turn every segment of an image into its sequence.

    Args:
        image: RGB, ``(H, W, 3)`` uint8.
        segmentation: A partition of the image.
        context: Largest length of a sequence.

    Raises:
        ValueError: If the image is not ``(H, W, 3)`` uint8 of the segmentation's size.
    """
    if image.dtype != np.uint8 or image.shape != (*segmentation.size_hw, 3):
        raise ValueError(f"image is {image.shape} {image.dtype}: expected {(*segmentation.size_hw, 3)} uint8")
    return gather(image, segmentation.labels, segmentation.boxes, crop_sizes(segmentation.boxes, context))


def gather(image: np.ndarray, labels: np.ndarray, boxes: np.ndarray, sizes: np.ndarray) -> PackedSegments:
    """Average pixels into the cells of their segments, in one pass over the image.

    Args:
        image: RGB, ``(H, W, 3)`` uint8.
        labels: Segment of each pixel, ``(H, W)`` integer; negative ones belong to none.
        boxes: Tight half-open pixel boxes, ``(N, 4)`` integer.
        sizes: Crop sizes ``(h, w)``, never larger than the boxes, ``(N, 2)`` int32.
    """
    packed = PackedSegments.zeros(sizes)
    _accumulate(image, labels, boxes, sizes, packed.offsets, packed.pixels)
    return packed


@numba.njit(cache=True, nogil=True)
def _accumulate(image, labels, boxes, sizes, offsets, pixels):  # pragma: no cover - compiled
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            segment = labels[y, x]
            if segment < 0:
                continue
            h, w = sizes[segment, 0], sizes[segment, 1]
            box_h, box_w = boxes[segment, 3] - boxes[segment, 1], boxes[segment, 2] - boxes[segment, 0]
            start = offsets[segment]
            local_y, local_x = y - boxes[segment, 1], x - boxes[segment, 0]
            red, green, blue = image[y, x, 0], image[y, x, 1], image[y, x, 2]
            if h == box_h and w == box_w:
                cell = start + local_y * w + local_x
                pixels[cell, 0] = red
                pixels[cell, 1] = green
                pixels[cell, 2] = blue
                pixels[cell, 3] = 1
                continue
            # A pixel spans h / box_h <= 1 of a cell, so it meets at most two cells an axis; overlaps are integers over box_h.
            row, column = local_y * h // box_h, local_x * w // box_w
            in_row = min(h, (row + 1) * box_h - local_y * h)
            in_column = min(w, (column + 1) * box_w - local_x * w)
            for i in range(2):
                part_y = in_row if i == 0 else h - in_row
                if part_y == 0:
                    continue
                for j in range(2):
                    part_x = in_column if j == 0 else w - in_column
                    if part_x == 0:
                        continue
                    cell = start + (row + i) * w + column + j
                    share = np.float32(part_y) * np.float32(part_x)
                    pixels[cell, 0] += share * red
                    pixels[cell, 1] += share * green
                    pixels[cell, 2] += share * blue
                    pixels[cell, 3] += share
    for segment in range(len(sizes)):
        h, w = sizes[segment, 0], sizes[segment, 1]
        box_h, box_w = boxes[segment, 3] - boxes[segment, 1], boxes[segment, 2] - boxes[segment, 0]
        exact = h == box_h and w == box_w
        area = np.float32(1) if exact else np.float32(box_h) * np.float32(box_w)
        for cell in range(offsets[segment], offsets[segment + 1]):
            weight = pixels[cell, 3]
            if weight > 0:
                for channel in range(3):
                    pixels[cell, channel] = min(np.float32(1), pixels[cell, channel] / (weight * np.float32(255)))
                pixels[cell, 3] = min(np.float32(1), weight / area)


def concatenate(parts: list[PackedSegments]) -> PackedSegments:
    """Put the segments of several images behind each other; the list must not be empty."""
    starts = np.cumsum([0, *(len(part.pixels) for part in parts)])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts[:-1], strict=True)]
    return PackedSegments(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([*offsets, starts[-1:]]),
    )


def select(packed: PackedSegments, indices: np.ndarray) -> PackedSegments:
    """Take some segments, ``(M,)`` integer, in the order given; at least one."""
    taken = PackedSegments.zeros(packed.sizes[indices])
    np.concatenate([packed[i] for i in indices], out=taken.pixels)
    return taken


def padded_length(lengths: np.ndarray, context: int) -> int:
    """Return the length to which sequences are padded together: the longest, rounded up to one of eight lengths an octave.

    Runtimes that prepare themselves for every shape, as OpenVINO does, then meet few shapes, and their memory stops growing.

    Args:
        lengths: ``(B,)`` integer, not empty.
        context: Largest length of a sequence, which is not exceeded.

    Example:
        >>> [padded_length(np.array([3, longest]), 640) for longest in (7, 100, 129, 640)]
        [7, 104, 144, 640]
    """
    longest = int(lengths.max())
    step = 1 << max(0, longest.bit_length() - 4)
    return min(context, -(-longest // step) * step)


def pad(packed: PackedSegments, indices: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Lay some sequences out as a rectangle.

    Args:
        packed: The sequences.
        indices: Which of them, ``(B,)`` integer, not empty.
        context: Largest length of a sequence.

    Returns:
        Pixels ``(B, L, 4)`` float32, zero behind the end of each, with ``L`` as by ``padded_length``; and sizes ``(B, 2)`` int64.
    """
    sizes = packed.sizes[indices].astype(np.int64)
    pixels = np.zeros((len(indices), padded_length(sizes.prod(axis=1), context), 4), dtype=np.float32)
    for row, index in enumerate(indices):
        sequence = packed[index]
        pixels[row, : len(sequence)] = sequence
    return pixels, sizes


def buckets(sizes: np.ndarray, max_cells: int) -> list[np.ndarray]:
    """Group sequences of similar length; padding a group to its longest costs at most ``BUCKET_RATIO`` times its pixels.

    Args:
        sizes: Crop sizes ``(h, w)``, ``(N, 2)`` integer.
        max_cells: Largest padded size ``B * L`` of a group with more than one member.

    Returns:
        Index arrays that hold every index of ``0 .. N - 1`` once, shortest sequences first.
    """
    lengths = sizes[:, 0].astype(np.int64) * sizes[:, 1]
    order = np.argsort(lengths, kind="stable")
    groups = []
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order):
            length = lengths[order[end]]
            if length <= BUCKET_RATIO * lengths[order[start]] and length * (end + 1 - start) <= max_cells:
                continue
        groups.append(order[start:end])
        start = end
    return groups


def unpack(packed: PackedSegments) -> list[np.ndarray]:
    """Return the crop of every segment, each ``(h, w, 4)`` float32 (a view)."""
    return [packed[i].reshape(h, w, 4) for i, (h, w) in enumerate(packed.sizes.tolist())]


def paint(packed: PackedSegments, boxes: np.ndarray, size_hw: tuple[int, int], labels: np.ndarray | None = None) -> np.ndarray:
    """Paint (decoded) sequences into an image.

    Each crop is resized to its box (bilinear, half-pixel centres); colours count by their masks, and were sharpened before
    (``_sharpen``). Where boxes overlap, they are averaged with the weight ``mask ** 4 + 1e-6``, so that the most certain segment
    wins and every pixel inside some box is painted.

    Args:
        packed: Decoded colours and mask probabilities.
        boxes: Half-open pixel boxes, ``(N, 4)`` integer, inside the image.
        size_hw: Height and width of the image.
        labels: Exact masks to use instead of the decoded ones, ``(H, W)`` int32.

    Returns:
        RGB, ``(H, W, 3)`` uint8; black outside all boxes.
    """
    colours = np.zeros((*size_hw, 3), dtype=np.float32)
    weights = np.zeros((*size_hw, 1), dtype=np.float32)
    for index, (crop, (x0, y0, x1, y1)) in enumerate(zip(unpack(packed), boxes.tolist(), strict=True)):
        size = (y1 - y0, x1 - x0)
        mask = crop[..., 3:]
        colour = crop[..., :3] if crop.shape[:2] == size else _sharpen(crop[..., :3], mask)
        layer = resize(np.concatenate([colour * (mask + _FLOOR), mask], axis=2), size)
        weight = layer[..., 3:] ** 4 + _FLOOR
        if labels is not None:
            weight *= (labels[y0:y1, x0:x1] == index)[..., None]
        colours[y0:y1, x0:x1] += layer[..., :3] * (weight / (layer[..., 3:] + _FLOOR))
        weights[y0:y1, x0:x1] += weight
    colours /= np.maximum(weights, np.float32(1e-12))
    return np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)


def _sharpen(colour: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Let linear interpolation between cell centres have about the colours of the cells as its means.

    The mean over a cell of the line through it and its neighbours is the cell plus an eighth of their second difference, which
    is therefore taken away first, along one axis after the other. Neighbours outside the mask do not count.

    Args:
        colour: ``(h, w, 3)`` float32.
        mask: In [0, 1], ``(h, w, 1)`` float32.
    """
    for axis in (0, 1):
        before = (slice(None),) * axis + (slice(None, -1),)
        after = (slice(None),) * axis + (slice(1, None),)
        change = np.diff(colour, axis=axis) * np.minimum(mask[before], mask[after]) / 8
        colour = colour.copy()
        colour[before] -= change
        colour[after] += change
    return colour
