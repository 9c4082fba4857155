"""Token files: round trip, damage, and reading by other libraries."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from subobject import MergeTree, Segmentation, Tokens
from subobject.tokens.store import read_tokens, write_tokens


@pytest.fixture
def tokens() -> Tokens:
    rng = np.random.default_rng(0)
    segmentations = []
    for height, width in [(3, 4), (5, 2)]:
        labels = np.zeros((height, width), dtype=np.int32)
        labels[:, width // 2 :] = 1
        tree = MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 0.25], np.float32))
        segmentations.append(Segmentation.from_labels(labels, tree))
    return Tokens.from_segmentations([rng.random((2, 7), dtype=np.float32) for _ in segmentations], segmentations)


def test_round_trip_is_exact(tmp_path, tokens):
    write_tokens(tmp_path / "t.parquet", ["a", "b"], tokens, {"embedder": "seqae"})
    stored = read_tokens(tmp_path / "t.parquet")
    assert stored.names == ["a", "b"]
    assert stored.source == {"embedder": "seqae"}
    for name in ("vectors", "boxes", "areas", "offsets"):
        assert np.array_equal(getattr(stored.tokens, name), getattr(tokens, name)), name
    for ours, theirs in zip(tokens.segmentations, stored.tokens.segmentations, strict=True):
        assert np.array_equal(ours.labels, theirs.labels)
        assert np.array_equal(ours.tree.parents, theirs.tree.parents)
        assert np.array_equal(ours.tree.strengths, theirs.tree.strengths)


def test_plain_parquet_readers_see_one_row_an_image(tmp_path, tokens):
    write_tokens(tmp_path / "t.parquet", ["a", "b"], tokens, {})
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["image"] for row in rows] == ["a", "b"]
    assert np.allclose(rows[1]["vectors"], tokens[1].vectors)


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"text"])
def test_damaged_files_are_named(tmp_path, damage):
    path = tmp_path / "t.parquet"
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=r"t\.parquet is not a Parquet file"):
        read_tokens(path)


def test_a_foreign_parquet_file_is_refused(tmp_path, tokens):
    path = tmp_path / "t.parquet"
    write_tokens(path, ["a", "b"], tokens, {})
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(ValueError, match="not a token file of format 1"):
        read_tokens(path)
