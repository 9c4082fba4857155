"""Tokens of made-up images, quick to make and easy to tell apart."""

import numpy as np
import pytest

from subobject import MergeTree, Segmentation, Tokens


def make_tokens(seed: int, *, segments: int = 3, size_hw: tuple[int, int] = (4, 12), dim: int = 8) -> Tokens:
    """Return the tokens of one image: vertical stripes, a chain of merges, random vectors."""
    rng = np.random.default_rng(seed)
    labels = np.broadcast_to((np.arange(size_hw[1]) * segments // size_hw[1]).astype(np.int32), size_hw).copy()
    parents = np.arange(2 * segments - 1, dtype=np.int32)
    parents[0] = segments if segments > 1 else 0
    parents[1:segments] = np.arange(segments, 2 * segments - 1)
    parents[segments:-1] += 1
    strengths = np.zeros(2 * segments - 1, dtype=np.float32)
    strengths[segments:] = np.sort(rng.random(segments - 1, dtype=np.float32))
    segmentation = Segmentation.from_labels(labels, MergeTree(parents, strengths))
    return Tokens.from_segmentations([rng.standard_normal((segments, dim)).astype(np.float32)], [segmentation])


def assert_same_tokens(ours: Tokens, theirs: Tokens) -> None:
    """Compare two batches bit by bit."""
    for name in ("vectors", "boxes", "areas", "offsets"):
        first, second = getattr(ours, name), getattr(theirs, name)
        assert first.dtype == second.dtype, name
        assert np.array_equal(first, second), name
    for first, second in zip(ours.segmentations, theirs.segmentations, strict=True):
        for name in ("labels", "boxes", "areas"):
            assert np.array_equal(getattr(first, name), getattr(second, name)), name
        assert np.array_equal(first.tree.parents, second.tree.parents)
        assert np.array_equal(first.tree.strengths, second.tree.strengths)


@pytest.fixture
def store_folder(tmp_path):
    """A store of 40 images with 1 to 5 tokens each, in shards of 18."""
    from subobject import TokenWriter

    with TokenWriter(tmp_path / "store", {"embedder": "random"}, shard_size=18) as writer:
        for i in range(40):
            writer.write(f"{i % 3}/{i}.png", make_tokens(i, segments=1 + i % 5))
    return tmp_path / "store"
