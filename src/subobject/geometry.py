"""All coordinate arithmetic. One convention: half-open pixels, origin at the top-left corner of the image.

Pixel column ``x`` spans ``[x, x + 1)``, so a box ``(x0, y0, x1, y1)`` has width ``x1 - x0``, one pixel has area 1, and
``labels[y0:y1, x0:x1]`` is the crop. The *token box* ``(x, y, w, h)`` is the top-left corner and the size, divided by the
image's width and height. Centres of pixels lie at half-integers, and resizing keeps them aligned (half-pixel convention).
"""

import numpy as np


def label_areas(labels: np.ndarray, num_segments: int) -> np.ndarray:
    """Count the pixels of every segment.

    Args:
        labels: Segment of each pixel, ``(H, W)``, integer, values in ``[0, num_segments)``.
        num_segments: Number of rows to return, ``N``.

    Returns:
        ``(N,)`` int64.
    """
    return np.bincount(labels.ravel(), minlength=num_segments).astype(np.int64)


def label_boxes(labels: np.ndarray, num_segments: int) -> np.ndarray:
    """Compute the tight box of every segment.

    Args:
        labels: Segment of each pixel, ``(H, W)``, integer, values in ``[0, num_segments)``.
        num_segments: Number of rows to return, ``N``; every index must be present.

    Returns:
        Half-open pixel boxes ``(x0, y0, x1, y1)``, ``(N, 4)`` int32.

    Example:
        >>> label_boxes(np.array([[0, 0, 1], [0, 0, 1]]), 2)
        array([[0, 0, 2, 2],
               [2, 0, 3, 2]], dtype=int32)
    """
    height, width = labels.shape
    boxes = np.empty((num_segments, 4), dtype=np.int32)
    boxes[:, :2] = max(height, width)
    boxes[:, 2:] = 0
    # Segments are few in a row or column beside pixels: reduce to (row, label) runs before the slow scatter.
    starts = np.ones(labels.shape, dtype=bool)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    ends = np.ones(labels.shape, dtype=bool)
    ends[:, :-1] = starts[:, 1:]
    y, x0 = np.nonzero(starts)
    x1 = np.nonzero(ends)[1] + 1
    segment = labels[y, x0]
    np.minimum.at(boxes[:, 0], segment, x0.astype(np.int32))
    np.minimum.at(boxes[:, 1], segment, y.astype(np.int32))
    np.maximum.at(boxes[:, 2], segment, x1.astype(np.int32))
    np.maximum.at(boxes[:, 3], segment, (y + 1).astype(np.int32))
    return boxes


def to_token_boxes(boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Convert half-open pixel boxes to token boxes.

    Args:
        boxes: ``(x0, y0, x1, y1)`` in pixels, ``(N, 4)`` integer.
        size_hw: Height and width of the image.

    Returns:
        ``(x, y, w, h)`` in [0, 1], ``(N, 4)`` float32.
    """
    height, width = size_hw
    x0, y0, x1, y1 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T
    return np.stack([x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height], axis=1).astype(np.float32)


def from_token_boxes(boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Invert ``to_token_boxes`` exactly for sides up to 2**20 pixels; returns ``(N, 4)`` int32."""
    height, width = size_hw
    x, y, w, h = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T
    x0, y0 = np.rint(x * width), np.rint(y * height)
    x1, y1 = x0 + np.rint(w * width), y0 + np.rint(h * height)
    return np.stack([x0, y0, x1, y1], axis=1).astype(np.int32)


def resize_labels(labels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize a label map: each new pixel takes the label under its centre (half-pixel convention); a segment may vanish."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(labels.shape, size_hw, strict=True))
    return labels[rows[:, None], columns]


def encode_rle(labels: np.ndarray, num_segments: int) -> list[str]:
    """Encode every segment of a label map as a compressed COCO run-length string, in one pass over the map.

    Args:
        labels: Segment of each pixel, ``(H, W)`` integer, values in ``[0, num_segments)``.
        num_segments: Number of strings to return.

    Returns:
        One string a segment: runs in column order, starting with the zeros, as ``pycocotools`` writes them.
    """
    flat = labels.T.ravel()
    starts = np.concatenate([[0], np.nonzero(flat[1:] != flat[:-1])[0] + 1, [flat.size]])
    segment = flat[starts[:-1]]
    order = np.argsort(segment, kind="stable")
    begin, end, owner = starts[:-1][order], starts[1:][order], segment[order]
    bounds = np.searchsorted(owner, np.arange(num_segments + 1))
    strings = []
    for i in range(num_segments):
        first, last = bounds[i], bounds[i + 1]
        edges = np.concatenate([[0], np.stack([begin[first:last], end[first:last]], axis=1).ravel()])
        counts = np.diff(edges)
        if edges[-1] < flat.size:
            counts = np.append(counts, flat.size - edges[-1])
        strings.append(_compress_counts(counts))
    return strings


def decode_rle(string: str, size_hw: tuple[int, int]) -> np.ndarray:
    """Decode one compressed COCO run-length string to a mask, ``(H, W)`` bool.

    Raises:
        ValueError: If the string does not cover exactly ``H * W`` pixels.
    """
    counts = _expand_counts(string)
    height, width = size_hw
    if sum(counts) != height * width or any(count < 0 for count in counts):
        raise ValueError(f"run lengths cover {sum(counts)} pixels, but the image has {height} x {width}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def _compress_counts(counts: np.ndarray) -> str:
    """Write run lengths as COCO does: differences to the run two before, five bits a character, offset 48."""
    characters = []
    numbers = counts.tolist()
    for i, count in enumerate(numbers):
        value = count - numbers[i - 2] if i > 2 else count
        while True:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            characters.append(chr((bits | (0x20 if more else 0)) + 48))
            if not more:
                break
    return "".join(characters)


def _expand_counts(string: str) -> list[int]:
    counts: list[int] = []
    position = 0
    while position < len(string):
        value, shift, more = 0, 0, True
        while more:
            if position == len(string):
                raise ValueError("run lengths end in the middle of a number")
            bits = ord(string[position]) - 48
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            position += 1
            shift += 5
            if not more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts
