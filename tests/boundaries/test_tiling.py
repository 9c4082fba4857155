"""Spans, weights and joins, as properties and against slow readable twins."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subobject.boundaries.tiling import blend_weights, cover_spans, join_tiles, merge_levels, split_spans


def slow_weights(spans, length):
    """Pixel by pixel, as the docstring says."""
    overlap = min([left[1] - right[0] for left, right in itertools.pairwise(spans)], default=0)
    margin = overlap * 3 // 8
    ramp = max(1, overlap - 2 * margin)
    table = np.zeros((len(spans), length))
    for i, (start, stop) in enumerate(spans):
        for x in range(start, stop):
            distances = [ramp + margin]
            if start > 0:
                distances.append(x + 0.5 - start)
            if stop < length:
                distances.append(stop - x - 0.5)
            table[i, x] = max(0, min(distances) - margin)
    return table / table.sum(0)


def check_spans(spans, length):
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(0 <= start < stop <= length for start, stop in spans)
    weights = blend_weights(spans, length)
    twin = slow_weights(spans, length)
    total = np.zeros(length)
    for (start, stop), weight, expected in zip(spans, weights, twin, strict=True):
        total[start:stop] += weight
        np.testing.assert_allclose(weight, expected[start:stop], atol=1e-6)
    np.testing.assert_allclose(total, 1, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(2, 8), st.integers(1, 4), st.sampled_from([1, 4, 8]))
def test_cover_spans(length, tile, overlap, multiple):
    tile, overlap = tile * multiple, min(overlap, tile - 1) * multiple
    spans = cover_spans(length, tile, overlap, multiple)
    check_spans(spans, length)
    assert all(start % multiple == 0 and stop - start <= tile for start, stop in spans)
    assert all(stop - start == tile for start, stop in spans[:-1])
    assert all(left[1] - right[0] >= overlap for left, right in itertools.pairwise(spans))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 4), st.sampled_from([0.1, 0.25, 0.5]))
def test_split_spans(length, level, overlap):
    spans = split_spans(length, 2**level, overlap)
    check_spans(spans, length)
    assert len(spans) == min(length, 2**level)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 90), (70, 90), (64, 64)])
def test_joining_pieces_of_a_map_gives_the_map(size_hw):
    """Nothing is weakened at a seam: what all tiles agree on comes back."""
    full = np.random.default_rng(0).random(size_hw, dtype=np.float32)
    rows, columns = (cover_spans(side, 32, 8, 4) for side in size_hw)
    np.testing.assert_allclose(join_tiles(size_hw, rows, columns, lambda y, x: full[y, x]), full, atol=1e-6)


def test_the_rim_of_a_tile_has_no_say():
    full = np.full((64, 64), 0.5, dtype=np.float32)
    spans = cover_spans(64, 32, 16, 4)

    def predict(rows, columns):
        tile = full[rows, columns].copy()
        for axis, part in enumerate((rows, columns)):
            view = tile.swapaxes(0, axis)
            if part.start > 0:
                view[:6] = 9
            if part.stop < 64:
                view[-6:] = 9
        return tile

    np.testing.assert_allclose(join_tiles((64, 64), spans, spans, predict), full, atol=1e-6)


def test_merge_levels_is_the_mean():
    maps = [np.full((2, 3), value, np.float32) for value in (0.0, 0.3, 0.9)]
    np.testing.assert_allclose(merge_levels(maps), 0.4, atol=1e-7)
