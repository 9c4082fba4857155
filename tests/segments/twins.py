"""Slow, readable twins of the compiled functions, and the properties that every segmentation has."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np

from subobject.filters import rgb_to_lab
from subobject.segments.merge_order import MergeOrder
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


@dataclass
class Border:
    """A border in the twin of the tree: both ends, in the order of the input, its length, the sum of its strength and its key."""

    ends: list[int]
    length: float
    total: float
    key: np.float32


def different_twin(
    weights: tuple[float, ...],
    strength: float,
    colours: tuple[np.ndarray, np.ndarray],
    shares: tuple[float, float],
    walk: float = 0.0,
) -> float:
    """Compute how likely two regions are different from strength, Lab colours, shares of the image and walk distance."""
    lightness, green_red, blue_yellow = (colours[0] - colours[1]).tolist()
    difference = math.sqrt(lightness * lightness + 2 * (green_red * green_red + blue_yellow * blue_yellow))
    evidence = (strength, math.sqrt(strength), difference / (difference + 10))
    total = weights[0]
    for weight, value in zip(weights[1:], (*evidence, *sorted(math.log(share) for share in shares), walk), strict=True):
        total += weight * value
    return 1 / (1 + math.exp(-total))


def walks_twin(pairs: np.ndarray, lengths: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Compute the walk distance of each border from the power of a dense transition matrix."""
    crossing = np.zeros((pairs.max() + 1, pairs.max() + 1))
    for (a, b), length, strength in zip(pairs, lengths, strengths, strict=True):
        crossing[a, b] = crossing[b, a] = length / (strength + 0.02)
    lazy = (np.eye(len(crossing)) + crossing / crossing.sum(axis=1, keepdims=True)) / 2
    after = np.linalg.matrix_power(lazy, 16)
    return np.array([np.abs(after[a] - after[b]).sum() / 2 for a, b in pairs])


def tree_twin(
    areas: np.ndarray,
    pairs: np.ndarray,
    lengths: np.ndarray,
    strengths: np.ndarray,
    colours: np.ndarray,
    order: MergeOrder,
) -> tuple[list[int], list[float]]:
    """Merge the border of the smallest key, found by looking at all; returns parents and keys of the nodes.

    The key of the smallest border is computed anew, and counts if it has risen. Of two regions that merge, the one that ever had
    more borders lives on; the keys of the other's borders are computed anew, and count if they have fallen. Without colours this
    always finds the smallest of all keys.
    """
    num_segments = len(areas)
    image_area = float(areas.sum())
    area = areas.astype(float)
    lab = rgb_to_lab(np.rint(colours).astype(np.uint8)[None])[0].astype(float)
    borders = {
        e: Border(pairs[e].tolist(), float(lengths[e]), strengths[e] * float(lengths[e]), np.float32(0))
        for e in range(len(pairs))
    }
    had = np.bincount(pairs.ravel(), minlength=num_segments)
    node_of = list(range(num_segments))

    def key_of(border: Border) -> np.float32:
        i, j = border.ends
        shares = (area[i] / image_area, area[j] / image_area)
        discount = min(1.0, *((share / order.reference_fraction) ** order.exponent for share in shares))
        different = border.total / border.length
        if order.weights is not None:
            different = different_twin(order.weights, different, (lab[i], lab[j]), shares)
        return np.float32((order.floor + (1 - order.floor) * different) * discount)

    for border in borders.values():
        border.key = key_of(border)
    parents, keys, highest = list(range(2 * num_segments - 1)), [0.0] * (2 * num_segments - 1), 0.0
    for node in range(num_segments, 2 * num_segments - 1):
        while True:
            e = min(borders, key=lambda e: (borders[e].key, e))
            if key_of(borders[e]) <= borders[e].key:
                break
            borders[e].key = key_of(borders[e])
        assert order.weights is not None or borders[e].key == min(map(key_of, borders.values()))
        merging = borders.pop(e)
        highest = max(highest, float(merging.key))
        keys[node] = highest
        kept, gone = merging.ends if had[merging.ends[0]] >= had[merging.ends[1]] else merging.ends[::-1]
        parents[node_of[kept]] = parents[node_of[gone]] = node_of[kept] = node
        lab[kept] += area[gone] / (area[kept] + area[gone]) * (lab[gone] - lab[kept])
        area[kept] += area[gone]
        for moved in sorted(e for e in borders if gone in borders[e].ends):
            border = borders[moved]
            border.ends = [kept if end == gone else end for end in border.ends]
            other = next((e for e in borders if e != moved and set(borders[e].ends) == set(border.ends)), None)
            had[kept] += other is None or moved < other
            if other is not None:
                first, second = borders[min(moved, other)], borders.pop(max(moved, other))
                first.length, first.total = first.length + second.length, first.total + second.total
                border = first
            border.key = min(border.key, key_of(border))
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
