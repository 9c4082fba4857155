"""Pooling through the label map against slow twins that enlarge the map to the image, with a mask a segment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subobject.embeddings.pooling import SMALLEST, cell_weights, pool
from tests.embeddings.partitions import random_partition


def slow_read(features: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Read a feature map at the centre of every pixel, bilinearly, pixel by pixel; ``(H, W, C)``."""
    (_, rows, columns), (height, width) = features.shape, size_hw
    result = np.zeros((height, width, len(features)))
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            u = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            i, j = int(v), int(u)
            below, right = min(i + 1, rows - 1), min(j + 1, columns - 1)
            top = (1 - (u - j)) * features[:, i, j] + (u - j) * features[:, i, right]
            bottom = (1 - (u - j)) * features[:, below, j] + (u - j) * features[:, below, right]
            result[y, x] = (1 - (v - i)) * top + (v - i) * bottom
    return result


@settings(max_examples=20)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_means_equal_those_of_the_enlarged_map(height, width, rows, columns, seed):
    rng = np.random.default_rng(seed)
    segmentation = random_partition(rng, height, width, 5)
    features = rng.normal(size=(3, rows, columns)).astype(np.float32)
    weights = cell_weights(segmentation.labels, segmentation.boxes, (rows, columns))
    pooled = pool(features, weights)
    enlarged = slow_read(features, (height, width))
    for i in range(segmentation.num_segments):
        assert np.allclose(pooled[i], enlarged[segmentation.labels == i].mean(axis=0), atol=1e-5)
        share = weights.values[weights.offsets[i] : weights.offsets[i + 1]]
        assert np.isclose(share.sum(), segmentation.areas[i], rtol=1e-4)


def test_the_twin_is_the_half_pixel_convention_of_torch():
    torch = pytest.importorskip("torch")
    features = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    for size in [(9, 20), (3, 5), (2, 4), (7, 1)]:
        theirs = torch.nn.functional.interpolate(torch.from_numpy(features)[None], size, mode="bilinear", align_corners=False)
        assert np.allclose(slow_read(features, size), theirs[0].permute(1, 2, 0).numpy(), atol=1e-5)


def test_half_a_cell_away_is_another_answer():
    """A map that rises with the column: the mean of a segment is the position of its centre, to the hundredth of a cell."""
    labels = np.zeros((8, 64), np.int32)
    labels[:, 24:40] = 1
    labels[:, 40:] = 2
    features = np.broadcast_to(np.arange(8, dtype=np.float32) + 0.5, (1, 2, 8))
    boxes = np.array([[0, 0, 24, 8], [24, 0, 40, 8], [40, 0, 64, 8]])
    assert pool(features, cell_weights(labels, boxes, (2, 8)))[1, 0] == pytest.approx(32 / 8, abs=1e-4)


@settings(max_examples=20)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_maxima_are_over_the_cells_that_a_segment_touches(height, width, rows, columns, seed):
    rng = np.random.default_rng(seed)
    segmentation = random_partition(rng, height, width, 5)
    features = rng.normal(size=(3, rows, columns)).astype(np.float32)
    pooled = pool(features, cell_weights(segmentation.labels, segmentation.boxes, (rows, columns), bilinear=False), "max")
    for i in range(segmentation.num_segments):
        touched = {
            (int((y + 0.5) * rows / height), int((x + 0.5) * columns / width)) for y, x in np.argwhere(segmentation.labels == i)
        }
        assert np.array_equal(pooled[i], np.max([features[:, y, x] for y, x in touched], axis=0))


def test_the_generalised_mean_lies_between_mean_and_maximum():
    rng = np.random.default_rng(0)
    segmentation = random_partition(rng, 12, 15, 4)
    features = rng.uniform(0, 2, size=(6, 5, 4)).astype(np.float32)
    weights = cell_weights(segmentation.labels, segmentation.boxes, (5, 4))
    mean, one, three, many = (pool(features, weights, *kind) for kind in [("mean",), ("gem", 1), ("gem", 3), ("gem", 60)])
    assert np.allclose(mean, one, atol=1e-5)
    enlarged = slow_read(features**3, (12, 15))
    for i in range(segmentation.num_segments):
        assert np.allclose(three[i], enlarged[segmentation.labels == i].mean(axis=0) ** (1 / 3), atol=1e-5)
    assert np.all(mean <= three + 1e-6)
    assert np.all(three <= many + 1e-6)
    assert np.allclose(pool(-features, weights, "gem"), SMALLEST, rtol=1e-3)


def test_an_unknown_pooling_lists_the_known():
    weights = cell_weights(np.zeros((2, 2), np.int32), np.array([[0, 0, 2, 2]]), (1, 1))
    with pytest.raises(ValueError, match="unknown pooling 'sum': use mean, max, gem"):
        pool(np.zeros((1, 1, 1), np.float32), weights, "sum")
