"""The merge tree against its slow twin, and its promises."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subobject.filters import rgb_to_lab
from subobject.segments.components import components
from subobject.segments.measure import measure
from subobject.segments.merge_order import MERGE_ORDERS, MergeOrder
from subobject.segments.tree import build_tree, region_graph

from .test_flood import smooth_map
from .twins import different_twin, is_nested, tree_twin

LEARNED, STRENGTH = MERGE_ORDERS["learned"], MERGE_ORDERS["strength"]


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, LEARNED.weights]),
    st.sampled_from([(0.01, 0.5, 0.01), (0.2, 1.0, 0.0), (0.3, 0.0, 0.0), (1.0, 0.5, 1.0)]),
    st.booleans(),
)
def test_tree_equals_twin(
    height: int, width: int, seed: int, weights: Any, numbers: tuple[float, float, float], ties: bool
) -> None:
    random = np.random.default_rng(seed)
    labels, count = components(random.integers(0, 3, (height, width)))
    strength = random.integers(0, 3, (height, width)) / np.float32(2) if ties else random.random((height, width), np.float32)
    found = measure(labels, count, strength.astype(np.float32))
    colours = random.integers(0, 256, (count, 3))
    parts = (found.areas, found.pairs, found.lengths, found.strengths.astype(np.float64), colours)
    order = MergeOrder(weights, *numbers)
    tree = build_tree(region_graph(*parts), order)
    parents, keys = tree_twin(*parts, order)
    assert tree.parents.tolist() == parents
    expected = np.minimum(keys, 1).astype(np.float32)
    np.testing.assert_array_equal(tree.strengths, np.sqrt(expected) if weights else expected)


def test_weak_borders_merge_first() -> None:
    pairs, areas = np.array([[0, 1], [1, 2], [2, 3]]), np.array([50, 50, 50, 50])
    tree = build_tree(region_graph(areas, pairs, np.array([10, 10, 10]), np.array([0.9, 0.1, 0.5])))
    assert tree.parents.tolist() == [6, 4, 4, 5, 5, 6, 6]
    assert tree.strengths[4:] == pytest.approx([0.01 + 0.99 * 0.1, 0.01 + 0.99 * 0.5, 0.01 + 0.99 * 0.9])


@pytest.mark.parametrize("order", MERGE_ORDERS.values(), ids=MERGE_ORDERS)
def test_slivers_merge_before_large_regions_with_a_weaker_border(order: MergeOrder) -> None:
    pairs, areas = np.array([[0, 1], [1, 2]]), np.array([5000, 5000, 1])
    tree = build_tree(region_graph(areas, pairs, np.array([10, 10]), np.array([0.3, 0.9])), order)
    assert tree.parents[1] == tree.parents[2] == 3


def test_regions_of_like_colour_merge_before_others() -> None:
    pairs, areas = np.array([[0, 1], [1, 2]]), np.array([50, 50, 50])
    lengths, strengths = np.array([10, 10]), np.array([0.3, 0.3])
    colours = np.array([[250, 40, 40], [60, 60, 60], [70, 60, 60]])
    coloured, grey = region_graph(areas, pairs, lengths, strengths, colours), region_graph(areas, pairs, lengths, strengths)
    assert build_tree(coloured, LEARNED).parents.tolist() == [4, 3, 3, 4, 4]
    assert build_tree(grey, LEARNED).parents.tolist() == [3, 3, 4, 4, 4]
    assert build_tree(coloured, STRENGTH).parents.tolist() == [3, 3, 4, 4, 4]


def test_merged_regions_take_their_mean_colour() -> None:
    pairs, areas = np.array([[0, 1], [1, 2]]), np.array([30, 10, 40])
    colours = np.array([[0, 0, 0], [40, 40, 40], [255, 255, 255]], np.uint8)
    order = replace(LEARNED, early=None)
    tree = build_tree(region_graph(areas, pairs, np.array([5, 5]), np.array([0.1, 0.9]), colours), order)
    black, grey, white = rgb_to_lab(colours[None])[0].astype(float)
    assert order.weights is not None
    expected = different_twin(order.weights, 0.9, (0.75 * black + 0.25 * grey, white), (0.5, 0.5))
    assert tree.parents.tolist() == [3, 3, 4, 4, 4]
    assert tree.strengths[-1] == pytest.approx(expected**0.5)


def test_joined_borders_take_the_mean_weighted_with_length() -> None:
    pairs, areas = np.array([[0, 1], [0, 2], [1, 2]]), np.array([9, 9, 9])
    graph = region_graph(areas, pairs, np.array([1, 3, 1]), np.array([0.0, 0.8, 0.4]))
    tree = build_tree(graph, replace(STRENGTH, floor=0.0))
    assert tree.strengths[-1] == pytest.approx(0.7)


def test_small_regions_count_by_their_share_of_the_reference_area() -> None:
    order = MergeOrder(None, reference_fraction=0.04, exponent=0.5, floor=0.2)
    tree = build_tree(region_graph(np.array([1, 99]), np.array([[0, 1]]), np.array([3]), np.array([0.6])), order)
    assert tree.strengths[-1] == pytest.approx((0.2 + 0.8 * 0.6) * 0.5)


def test_one_segment() -> None:
    empty = np.empty(0)
    tree = build_tree(region_graph(np.array([4]), np.empty((0, 2), np.int32), empty, empty))
    assert tree.parents.tolist() == [0]
    assert tree.num_segments == 1


def test_disconnected_regions_are_refused() -> None:
    with pytest.raises(ValueError, match="reachable"):
        build_tree(region_graph(np.array([1, 1, 1]), np.array([[0, 1]]), np.array([1]), np.array([0.5])))


@pytest.mark.parametrize("option", [{"reference_fraction": 0.0}, {"exponent": -1.0}, {"floor": 1.5}])
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="reference_fraction > 0"):
        replace(STRENGTH, **option)


@pytest.mark.parametrize("order", MERGE_ORDERS.values(), ids=MERGE_ORDERS)
def test_cuts_are_nested_and_exact(order: MergeOrder) -> None:
    strength = smooth_map(64, 64, seed=3)
    labels, count = components((strength * 12).astype(np.uint8))
    found = measure(labels, count, strength)
    tree = build_tree(region_graph(found.areas, found.pairs, found.lengths, found.strengths), order)
    finer = labels
    for budget in range(count, 0, -1):
        coarser = tree.prune(budget)[1][labels]
        assert coarser.max() + 1 == budget
        assert components(coarser)[1] == budget
        assert is_nested(finer, coarser)
        finer = coarser


@pytest.mark.parametrize("order", MERGE_ORDERS.values(), ids=MERGE_ORDERS)
def test_a_hub_with_many_neighbours_takes_near_linear_time(order: MergeOrder) -> None:
    spokes = 100_000
    pairs = np.stack([np.zeros(spokes, np.int32), np.arange(1, spokes + 1, dtype=np.int32)], axis=1)
    ring = np.stack([np.arange(1, spokes, dtype=np.int32), np.arange(2, spokes + 1, dtype=np.int32)], axis=1)
    pairs = np.concatenate([pairs, ring])
    strengths = np.random.default_rng(0).random(len(pairs))
    areas = np.ones(spokes + 1)
    areas[0] = 10 * spokes
    build_tree(region_graph(areas[:2], pairs[:1], np.ones(1), strengths[:1]), order)
    graph = region_graph(areas, pairs, np.ones(len(pairs)), strengths)
    start = time.thread_time()
    tree = build_tree(graph, order)
    assert time.thread_time() - start < 5
    assert tree.num_segments == spokes + 1
