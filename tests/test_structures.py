"""Invariants are refused in words; cut, prune and reorder against slow twins; packing of tokens."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subobject.structures import Boundaries, MergeTree, Segmentation, Tokens


def random_tree(count: int, seed: int) -> MergeTree:
    """Merge random pairs, with strengths that often tie."""
    random = np.random.default_rng(seed)
    parents = np.full(2 * count - 1, 2 * count - 2, np.int32)
    alive = list(range(count))
    for node in range(count, 2 * count - 1):
        for _ in range(2):
            parents[alive.pop(random.integers(len(alive)))] = node
        alive.append(node)
    merges = np.sort(random.integers(0, 5, count - 1) / np.float32(4)).astype(np.float32)
    return MergeTree(parents, np.concatenate([np.zeros(count, np.float32), merges]))


def random_segmentation(count: int, seed: int = 0) -> Segmentation:
    """Cut a picture of one row into runs."""
    labels = np.repeat(np.arange(count, dtype=np.int32), np.random.default_rng(seed).integers(1, 4, count))[None]
    return Segmentation.from_labels(labels, random_tree(count, seed))


def cut_twin(tree: MergeTree, count: int) -> list[int]:
    """Replay all merges but the last ``count - 1`` on sets; number the sets by their first member."""
    groups = {node: {node} for node in range(tree.num_segments)}
    for node in range(tree.num_segments, 2 * tree.num_segments - count):
        first, second = (child for child in groups if tree.parents[child] == node)
        groups[node] = groups.pop(first) | groups.pop(second)
    ordered = sorted(groups.values(), key=min)
    return [next(i for i, group in enumerate(ordered) if leaf in group) for leaf in range(tree.num_segments)]


COUNTS_AND_SEEDS = (st.integers(1, 25), st.integers(0, 999))


@given(*COUNTS_AND_SEEDS)
def test_prune_equals_twin_at_every_count(count: int, seed: int) -> None:
    tree = random_tree(count, seed)
    for budget in range(1, count + 1):
        coarser, assignment = tree.prune(budget)
        assert assignment.dtype == np.int32
        assert assignment.tolist() == cut_twin(tree, budget)
        assert coarser.num_segments == budget
        for smaller in range(1, budget + 1):
            assert np.array_equal(coarser.prune(smaller)[1][assignment], tree.prune(smaller)[1])


@given(*COUNTS_AND_SEEDS, st.floats(0, 1))
def test_cut_by_strength_merges_what_lies_below(count: int, seed: int, threshold: float) -> None:
    tree = random_tree(count, seed)
    below = sum(float(strength) < np.float32(threshold) for strength in tree.strengths[count:])
    assert tree.count(threshold=threshold) == count - below


@given(*COUNTS_AND_SEEDS)
def test_cut_measures_the_new_segments(count: int, seed: int) -> None:
    segmentation = random_segmentation(count, seed)
    for budget in (1, max(1, count // 2), count, count + 3):
        cut = segmentation.cut(max_segments=budget)
        again = Segmentation.from_labels(cut.labels, cut.tree)
        assert cut.num_segments == min(budget, count)
        assert np.array_equal(cut.areas, again.areas)
        assert np.array_equal(cut.boxes, again.boxes)


@given(*COUNTS_AND_SEEDS, st.data())
def test_reorder_renames_and_keeps_the_cuts(count: int, seed: int, data: st.DataObject) -> None:
    segmentation = random_segmentation(count, seed)
    permutation = np.array(data.draw(st.permutations(range(count))))
    renamed = segmentation.reorder(permutation)
    for new, old in enumerate(permutation):
        assert np.array_equal(renamed.labels == new, segmentation.labels == old)
    assert np.array_equal(renamed.areas, segmentation.areas[permutation])
    assert np.array_equal(renamed.boxes, segmentation.boxes[permutation])
    for budget in range(1, count + 1):
        before, after = segmentation.cut(max_segments=budget).labels, renamed.cut(max_segments=budget).labels
        pairs = np.unique(np.stack([before.ravel(), after.ravel()]), axis=1)
        assert pairs.shape[1] == budget
    assert np.array_equal(renamed.reorder(np.argsort(permutation)).labels, segmentation.labels)


def test_cut_needs_exactly_one_limit_in_range() -> None:
    segmentation = random_segmentation(4)
    for options in ({}, {"max_segments": 2, "threshold": 0.5}):
        with pytest.raises(ValueError, match="either max_segments or threshold"):
            segmentation.cut(**options)
    with pytest.raises(ValueError, match="max_segments is 0: use 1 or more"):
        segmentation.cut(max_segments=0)
    with pytest.raises(ValueError, match=r"threshold is 1\.5: use a boundary strength from 0 to 1"):
        segmentation.cut(threshold=1.5)
    with pytest.raises(ValueError, match="count is 5: use 1 to 4"):
        segmentation.tree.ancestors(5)


def test_reorder_refuses_what_is_no_permutation() -> None:
    with pytest.raises(ValueError, match=r"every index of 0 \.\. 2 once"):
        random_segmentation(3).reorder(np.array([0, 0, 1]))


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        (np.zeros((2, 2)), r"expected shape \(\*, \*\) float32, got \(2, 2\) float64"),
        (np.zeros(2, np.float32), r"got \(2,\) float32"),
        (np.zeros((0, 2), np.float32), "at least one pixel"),
        (np.full((1, 1), 1.5, np.float32), r"expected values in \[0, 1\]"),
        (np.full((1, 1), np.nan, np.float32), r"expected values in \[0, 1\]"),
    ],
)
def test_boundaries_refuse(probability: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Boundaries(probability)


@pytest.mark.parametrize(
    ("parents", "strengths", "message"),
    [
        ([1, 1], [0, 0], "expected 2 N - 1 nodes, got 2"),
        ([2, 2, 2], [0, 0], r"strengths: expected shape \(3\) float32"),
        ([2, 2, 1], [0, 0, 0.5], "the root must be its own parent"),
        ([2, 0, 2], [0, 0, 0.5], "must come before its parent"),
        ([1, 2, 2], [0, 0, 0.5], "no child and merges exactly two"),
        ([3, 4, 4, 4, 4], [0, 0, 0, 0.5, 0.5], "merges exactly two"),
        ([2, 2, 2], [0, 0.1, 0.5], "0 for segments"),
        ([3, 3, 4, 4, 4], [0, 0, 0, 0.5, 0.4], "non-decreasing"),
        ([2, 2, 2], [0, 0, 1.5], "up to 1"),
        ([2, 2, 2], [0, 0, np.nan], "up to 1"),
    ],
)
def test_merge_tree_refuses(parents: list[int], strengths: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MergeTree(np.array(parents, np.int32), np.array(strengths, np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros((1, 4), np.int64)}, r"labels: expected shape \(\*, \*\) int32"),
        ({"boxes": np.zeros((1, 4), np.int32)}, r"boxes: expected shape \(2, 4\) int32"),
        ({"areas": np.array([0, 4])}, "every segment needs at least one pixel"),
        ({"areas": np.array([1, 2])}, "expected a sum of 4 pixels, got 3"),
        ({"labels": np.array([[0, 0, 1, 2]], np.int32)}, r"expected values 0 \.\. 1, got 0 \.\. 2"),
        ({"boxes": np.array([[0, 0, 2, 1], [2, 0, 5, 1]], np.int32)}, "x1 <= W"),
        ({"tree": random_tree(3, 0)}, "tree has 3 segments, but areas has 2"),
    ],
)
def test_segmentation_refuses(change: dict[str, Any], message: str) -> None:
    good = Segmentation.from_labels(np.array([[0, 0, 1, 1]], np.int32), random_tree(2, 0))
    with pytest.raises(ValueError, match=message):
        replace(good, **change)


def test_segmentation_refuses_labels_without_a_pixel() -> None:
    with pytest.raises(ValueError, match="every segment needs at least one pixel"):
        Segmentation.from_labels(np.array([[0, 2]], np.int32), random_tree(3, 0))
    with pytest.raises(ValueError, match="no negative value"):
        Segmentation.from_labels(np.array([[-1, 0]], np.int32), random_tree(1, 0))


def test_structures_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Boundaries(np.zeros((1, 1), np.float32)).probability = np.ones((1, 1), np.float32)  # type: ignore[misc]


def batch(*counts: int) -> tuple[list[np.ndarray], Tokens]:
    """Pack random vectors of images with so many segments."""
    random = np.random.default_rng(0)
    vectors = [random.random((count, 3), np.float32) for count in counts]
    return vectors, Tokens.from_segmentations(vectors, [random_segmentation(count, seed=count) for count in counts])


def test_tokens_pack_and_index() -> None:
    vectors, tokens = batch(3, 1, 5)
    assert (len(tokens), tokens.num_tokens) == (3, 9)
    assert tokens.offsets.tolist() == [0, 3, 4, 9]
    for index in (0, 1, 2, -1, -3):
        one = tokens[index]
        assert np.array_equal(one.vectors, vectors[index])
        assert one.segmentation is tokens.segmentations[index]
        assert one.offsets.tolist() == [0, len(vectors[index])]
        assert np.array_equal(one.areas, one.segmentation.areas)
    assert [one.num_tokens for one in tokens] == [3, 1, 5]
    for index in (3, -4):
        with pytest.raises(IndexError, match="of a batch of 3"):
            tokens[index]


def test_tokens_padded_puts_zeros_where_there_is_no_token() -> None:
    vectors, tokens = batch(3, 1, 5)
    padded, mask = tokens.padded()
    assert padded.shape == (3, 5, 3)
    assert mask.sum(axis=1).tolist() == [3, 1, 5]
    for row, have, expected in zip(padded, mask, vectors, strict=True):
        assert np.array_equal(row[have], expected)
        assert not row[~have].any()


def test_segmentation_of_a_batch_of_several_is_refused() -> None:
    with pytest.raises(ValueError, match="the batch holds 2 images"):
        _ = batch(1, 2)[1].segmentation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": np.zeros((3, 2), np.float32)}, r"vectors: expected shape \(4, \*\) float32"),
        ({"offsets": np.array([0, 2, 4])}, r"running sum of the segments \[3, 1\], got \[0, 2, 4\]"),
        ({"offsets": np.array([0, 4])}, r"offsets: expected shape \(3\) int64"),
        ({"boxes": np.full((4, 4), 1.5, np.float32)}, r"boxes: expected values in \[0, 1\]"),
    ],
)
def test_tokens_refuse(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(batch(3, 1)[1], **change)


def test_tokens_of_no_image_are_refused() -> None:
    with pytest.raises(ValueError, match="no image: give at least one"):
        Tokens.from_segmentations([], [])
