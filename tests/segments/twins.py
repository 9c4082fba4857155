"""Slow, readable twins of the compiled functions, and the properties that every segmentation has."""

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np

from subobject.structures import Segmentation

NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0))


def neighbours(y: int, x: int, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """List the 4-neighbours inside the image: above, left, right, below."""
    return [(y + dy, x + dx) for dy, dx in NEIGHBOURS if 0 <= y + dy < shape[0] and 0 <= x + dx < shape[1]]


def components_twin(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Fill each component of equal values from its first pixel."""
    labels = np.full(values.shape, -1, np.int32)
    count = 0
    for start in np.ndindex(*values.shape):
        if labels[start] >= 0:
            continue
        labels[start] = count
        stack = [start]
        while stack:
            pixel = stack.pop()
            for other in neighbours(*pixel, values.shape):
                if labels[other] < 0 and values[other] == values[pixel]:
                    labels[other] = count
                    stack.append(other)
        count += 1
    return labels, count


def keep_components(labels: np.ndarray, kept: list[int]) -> tuple[np.ndarray, int]:
    """Renumber the kept components in order and set the others to -1."""
    number = {label: i for i, label in enumerate(sorted(kept))}
    return np.array([[number.get(int(label), -1) for label in row] for row in labels], np.int32), len(kept)


def minima_twin(levels: np.ndarray) -> tuple[np.ndarray, int]:
    """Keep the plateaus of which no pixel has a lower neighbour."""
    labels, count = components_twin(levels)
    sloped = {int(labels[p]) for p in np.ndindex(*levels.shape) for q in neighbours(*p, levels.shape) if levels[q] < levels[p]}
    return keep_components(labels, [i for i in range(count) if i not in sloped])


def below_twin(probability: np.ndarray, levels: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
    """Keep the components below the threshold, or those of the lowest level."""
    inside = probability < threshold
    if not inside.any():
        inside = levels == levels.min()
    labels, _ = components_twin(inside)
    return keep_components(labels, sorted({int(i) for i in labels[inside]}))


def drains_twin(levels: np.ndarray, seeds: np.ndarray) -> dict[tuple[int, int], tuple[int, int]]:
    """Map each pixel that drains to the neighbour it drains to; those of seeds and of other minima are left out."""
    shape = levels.shape
    outside = [pixel for pixel in np.ndindex(*shape) if seeds[pixel] < 0]
    drains = {}
    for pixel in outside:
        lowest = min(neighbours(*pixel, shape), key=lambda other: levels[other], default=pixel)
        if levels[lowest] < levels[pixel]:
            drains[pixel] = lowest
    known = {pixel for pixel in np.ndindex(*shape) if seeds[pixel] >= 0 or pixel in drains}
    queue: deque[tuple[int, int]] = deque()
    for pixel in outside:
        ways = [other for other in neighbours(*pixel, shape) if levels[other] == levels[pixel] and other in known]
        if pixel not in known and ways:
            drains[pixel] = ways[0]
            queue.append(pixel)
    while queue:
        pixel = queue.popleft()
        for other in neighbours(*pixel, shape):
            if levels[other] == levels[pixel] and seeds[other] < 0 and other not in drains:
                drains[other] = pixel
                queue.append(other)
    return drains


def flood_twin(levels: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Let each pixel drain to a seed or another minimum, then join the basins of other minima across their lowest passes."""
    drains = drains_twin(levels, seeds)
    parts = components_twin(levels)[0] + seeds.max() + 1
    labels = np.full_like(seeds, -1)
    for pixel in np.ndindex(*levels.shape):
        end = pixel
        while end in drains:
            end = drains[end]
        labels[pixel] = seeds[end] if seeds[end] >= 0 else parts[end]
    passes: dict[frozenset[int], int] = {}
    for pixel, other in adjacent(labels):
        pair = frozenset((int(labels[pixel]), int(labels[other])))
        passes[pair] = min(passes.get(pair, 255), max(levels[pixel], levels[other]))
    owner = {int(label): int(label) for label in np.unique(labels)}
    for pair in sorted(passes, key=lambda pair: passes[pair]):
        kept, gone = sorted(owner[label] for label in pair)
        if gone > seeds.max():
            owner = {label: kept if old == gone else old for label, old in owner.items()}
    return np.vectorize(owner.__getitem__)(labels).astype(np.int32)


def adjacent(labels: np.ndarray) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield neighbouring pixels of different labels: row by row, those side by side before those one above the other."""
    height, width = labels.shape
    for y in range(height):
        pairs = [((y, x), (y, x + 1)) for x in range(width - 1)]
        pairs += [((y, x), (y + 1, x)) for x in range(width) if y + 1 < height]
        yield from ((pixel, other) for pixel, other in pairs if labels[pixel] != labels[other])


def reached_at_twin(levels: np.ndarray, seeds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Find the level at which a flood from the seeds reaches each pixel, if it cannot pass from one label to another."""
    reached = np.full(levels.shape, 256)
    heap = [(int(levels[pixel]), pixel) for pixel in np.ndindex(*levels.shape) if seeds[pixel] >= 0]
    heapify(heap)
    while heap:
        level, pixel = heappop(heap)
        if level < reached[pixel]:
            reached[pixel] = level
            for other in neighbours(*pixel, levels.shape):
                if labels[other] == labels[pixel]:
                    heappush(heap, (max(level, int(levels[other])), other))
    return reached


def borders_twin(labels: np.ndarray, strength: np.ndarray) -> dict[tuple[int, int], list[float]]:
    """List the strengths between neighbouring pixels of each pair of segments, pairs in the order in which they are met."""
    found: dict[tuple[int, int], list[float]] = {}
    for pixel, other in adjacent(labels):
        pair = (int(min(labels[pixel], labels[other])), int(max(labels[pixel], labels[other])))
        found.setdefault(pair, []).append(float(max(strength[pixel], strength[other])))
    return found


class Border(NamedTuple):
    """A border in the twin of the tree: its position in the input, its length and the sum of its strength."""

    index: int
    length: float
    total: float


def tree_twin(
    num_segments: int, pairs: np.ndarray, lengths: np.ndarray, strengths: np.ndarray, areas: np.ndarray, *options: float
) -> tuple[list[int], list[float]]:
    """Merge the border of the smallest key, found by looking at all; returns parents and keys of the nodes."""
    reference_fraction, exponent, floor = options
    reference = reference_fraction * float(areas.sum())
    area = {i: float(areas[i]) for i in range(num_segments)}
    borders = {
        frozenset((int(i), int(j))): Border(e, float(lengths[e]), float(strengths[e]) * float(lengths[e]))
        for e, (i, j) in enumerate(pairs)
    }

    def rank(item: tuple[frozenset[int], Border]) -> tuple[float, int]:
        nodes, border = item
        discount = min(1.0, (min(area[node] for node in nodes) / reference) ** exponent)
        return float(np.float32((floor + (1 - floor) * (border.total / border.length)) * discount)), border.index

    parents, keys, highest = list(range(2 * num_segments - 1)), [0.0] * (2 * num_segments - 1), 0.0
    for node in range(num_segments, 2 * num_segments - 1):
        merging, border = min(borders.items(), key=rank)
        highest = max(highest, rank((merging, border))[0])
        keys[node] = highest
        for child in merging:
            parents[child] = node
        area[node] = sum(area[child] for child in merging)
        del borders[merging]
        for nodes in [nodes for nodes in borders if nodes & merging]:
            old = borders.pop(nodes)
            renamed = (nodes - merging) | {node}
            if renamed in borders:
                other = borders[renamed]
                old = Border(min(old.index, other.index), old.length + other.length, old.total + other.total)
            borders[renamed] = old
    return parents, keys


def check_segmentation(segmentation: Segmentation, size_hw: tuple[int, int]) -> None:
    """Assert that labels are contiguous and 4-connected, cover the image, and have the areas and tight boxes given."""
    labels = segmentation.labels
    assert labels.shape == size_hw
    assert np.array_equal(np.unique(labels), np.arange(segmentation.num_segments))
    assert components_twin(labels)[1] == segmentation.num_segments
    for segment in range(segmentation.num_segments):
        y, x = np.nonzero(labels == segment)
        assert segmentation.areas[segment] == len(y)
        assert segmentation.boxes[segment].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def is_nested(fine: np.ndarray, coarse: np.ndarray) -> bool:
    """Tell whether each segment of the fine map lies in one of the coarse map."""
    return len(np.unique(np.stack([fine.ravel(), coarse.ravel()]), axis=1).T) == len(np.unique(fine))
