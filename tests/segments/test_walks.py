"""Joined regions, random walks over them, and trees whose top takes the walks into account."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subobject.segments.agglomeration import Graph, Rule, merge
from subobject.segments.components import components
from subobject.segments.contraction import contract, regions_left
from subobject.segments.measure import measure
from subobject.segments.merge_order import MERGE_ORDERS
from subobject.segments.tree import build_tree, region_graph
from subobject.segments.walks import WALKED_REGIONS, add_walks

from .test_flood import smooth_map
from .twins import different_twin, walks_twin

LEARNED = MERGE_ORDERS["learned"]
assert LEARNED.early is not None
EARLY = LEARNED.early


def graph_of_a_map(side: int = 96, seed: int = 3, levels: int = 40) -> Graph:
    """Return the graph of the flat regions of a smooth map."""
    strength = smooth_map(side, side, seed=seed)
    labels, count = components((strength * levels).astype(np.uint8))
    found = measure(labels, count, strength, np.repeat((strength * 255).astype(np.uint8)[..., None], 3, axis=2))
    return region_graph(found.areas, found.pairs, found.lengths, found.strengths, found.colours)


def ladder(strengths: list[float], area: int = 100) -> Graph:
    """Return regions in a row with one border between neighbours."""
    count = len(strengths) + 1
    pairs = np.stack([np.arange(count - 1), np.arange(1, count)], axis=1)
    return region_graph(np.full(count, area), pairs, np.full(count - 1, 10), np.array(strengths))


@given(st.integers(0, 2**32 - 1))
def test_contracted_graph_equals_that_of_the_joined_regions(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = components(random.integers(0, 4, (9, 9)))[0]
    strength = random.random((9, 9), np.float32)
    coarse, coarse_count = components(random.integers(0, 2, (9, 9)))
    fine, fine_count = components(labels * coarse_count + coarse)
    found, expected = measure(fine, fine_count, strength), measure(coarse, coarse_count, strength)
    assignment = np.empty(fine_count, np.int64)
    assignment[fine] = coarse
    joined = contract(region_graph(found.areas, found.pairs, found.lengths, found.strengths), assignment)
    assert joined.areas.tolist() == expected.areas.tolist()
    order = np.lexsort(expected.pairs.T[::-1])
    assert joined.pairs.tolist() == expected.pairs[order].tolist()
    assert joined.lengths.tolist() == expected.lengths[order].tolist()
    np.testing.assert_allclose(joined.strengths, expected.strengths[order], rtol=1e-5)


def test_contracted_regions_have_the_mean_colour_and_walks_by_area_and_length() -> None:
    graph = Graph(
        areas=np.array([3.0, 1.0, 5.0]),
        lab=np.array([[0.0, 8, 0], [4, 0, 0], [9, 9, 9]]),
        pairs=np.array([[0, 1], [0, 2], [1, 2]], np.int32),
        lengths=np.array([2.0, 3, 1]),
        strengths=np.array([0.5, 0.4, 0.8]),
        walks=np.array([0.0, 1, 0.2]),
    )
    joined = contract(graph, np.array([0, 0, 1]))
    assert joined.lab.tolist() == [[1, 6, 0], [9, 9, 9]]
    assert joined.strengths == pytest.approx([0.5])
    assert joined.walks == pytest.approx([0.8])


def test_walks_equal_their_twin() -> None:
    graph = graph_of_a_map(side=48)
    assert len(graph.areas) > 30
    np.testing.assert_allclose(add_walks(graph).walks, walks_twin(graph.pairs, graph.lengths, graph.strengths), atol=1e-12)


def test_walks_part_what_a_gap_in_a_border_joins() -> None:
    # Two rings of four regions, joined by two strong borders and a weak one.
    pairs = np.array([[0, 1], [1, 2], [2, 3], [0, 3], [4, 5], [5, 6], [6, 7], [4, 7], [0, 4], [1, 5], [2, 6]])
    strengths = np.array([0.1] * 8 + [0.9, 0.9, 0.1])
    walks = add_walks(region_graph(np.full(8, 100), pairs, np.full(11, 10), strengths)).walks
    inside, across, gap = walks[:8], walks[8:10], walks[10]
    assert inside.max() < gap < across.min() <= 1


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_regions_can_be_walked(count: int) -> None:
    assert add_walks(ladder([0.3] * (count - 1))).walks == pytest.approx([0.0] * (count - 1))


@pytest.mark.parametrize("count", [1, 2, 30, None])
def test_regions_left_are_those_of_the_pruned_tree(count: int | None) -> None:
    graph = graph_of_a_map()
    tree = build_tree(graph, EARLY)
    count = count or tree.num_segments
    region_of, assignment = regions_left(tree.parents, count)
    np.testing.assert_array_equal(assignment, tree.prune(count)[1])
    tops = np.flatnonzero(region_of >= 0)
    np.testing.assert_array_equal(tops[np.argsort(region_of[tops])][assignment], tree.ancestors(count))


def test_walks_count_in_the_key() -> None:
    graph = ladder([0.3, 0.3])._replace(walks=np.array([0.9, 0.1]))
    parents, keys = merge(graph, Rule.of(replace(LEARNED, reference_fraction=0.3)), 1)
    assert parents.tolist() == [4, 3, 3, 4, 4]
    assert LEARNED.weights is not None
    black = np.zeros(3)
    assert keys[3] == pytest.approx(different_twin(LEARNED.weights, 0.3, (black, black), (1 / 3, 1 / 3), 0.1))
    assert keys[4] == pytest.approx(different_twin(LEARNED.weights, 0.3, (black, black), (1 / 3, 2 / 3), 0.9))


def test_merging_stops_where_it_is_told() -> None:
    parents, _ = merge(graph_of_a_map(), Rule.of(EARLY), 10)
    regions = (len(parents) + 1) // 2
    merged = parents[: 2 * regions - 10]
    assert np.sum(merged < 0) == 10
    assert np.all(parents[2 * regions - 10 : -1] == -1)


def test_below_the_walked_regions_the_tree_is_that_of_the_early_order() -> None:
    graph = graph_of_a_map()
    assert len(graph.areas) > 2 * WALKED_REGIONS
    walked, plain = build_tree(graph, LEARNED), build_tree(graph, EARLY)
    assert np.array_equal(walked.prune(WALKED_REGIONS)[1], plain.prune(WALKED_REGIONS)[1])
    assert not np.array_equal(walked.prune(30)[1], plain.prune(30)[1])


@pytest.mark.parametrize("count", [2, 3, 64, 65, WALKED_REGIONS, WALKED_REGIONS + 1])
def test_any_number_of_regions_gets_a_tree(count: int) -> None:
    strengths = np.random.default_rng(count).random(count - 1)
    tree = build_tree(ladder(strengths.tolist()), LEARNED)
    assert tree.num_segments == count
    assert math.isfinite(tree.strengths[-1])
