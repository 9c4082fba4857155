"""Orders of tokens against slow twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subobject import Boundaries, Segmentation
from subobject.registry import load_member
from subobject.segments import SEGMENTERS
from subobject.tokens.order import ORDERS, arrange


def random_segmentation(seed: int) -> Segmentation:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 14, size=2)
    boundaries = Boundaries(rng.random(size, dtype=np.float32))
    image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    return load_member(SEGMENTERS["watershed"])()(image, boundaries, None)


@given(st.integers(0, 10_000), st.sampled_from(sorted(ORDERS)))
def test_every_order_is_a_permutation_of_the_segments(seed, order):
    segmentation = random_segmentation(seed)
    arranged = arrange(segmentation, order, seed=3)
    assert sorted(arranged.areas.tolist()) == sorted(segmentation.areas.tolist())
    pairs = set(zip(segmentation.labels.ravel().tolist(), arranged.labels.ravel().tolist(), strict=True))
    assert len(pairs) == segmentation.num_segments, "the order renumbers segments and changes none"


@given(st.integers(0, 10_000))
def test_raster_lists_segments_as_they_appear(seed):
    labels = arrange(random_segmentation(seed), "raster").labels.ravel().tolist()
    assert list(dict.fromkeys(labels)) == sorted(set(labels))


@given(st.integers(0, 10_000))
def test_size_lists_large_segments_first(seed):
    assert np.all(np.diff(arrange(random_segmentation(seed), "size").areas) <= 0)


@given(st.integers(0, 10_000))
def test_a_prefix_of_coarse_to_fine_has_one_token_in_each_coarse_segment(seed):
    arranged = arrange(random_segmentation(seed), "coarse-to-fine")
    for count in range(1, arranged.num_segments + 1):
        tops = arranged.tree.ancestors(count)
        assert len(set(tops[:count].tolist())) == count
    assert arranged.areas[0] == arranged.areas.max()


def test_random_depends_on_the_seed_alone():
    segmentation = random_segmentation(4)
    first, again, other = (arrange(segmentation, "random", seed).labels for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_unknown_order_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown order 'rastr': did you mean 'raster'"):
        arrange(random_segmentation(0), "rastr")
