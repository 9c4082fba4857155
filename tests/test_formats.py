"""Label maps on disk: exact round trips in every format, and refusal of damaged files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from subobject import MergeTree, Segmentation


def chain(n: int) -> MergeTree:
    """A tree that merges segment 0 with 1, the result with 2, and so on."""
    parents = np.empty(2 * n - 1, dtype=np.int32)
    parents[-1] = 2 * n - 2
    if n > 1:
        parents[:2] = n
        parents[2:n] = np.arange(n + 1, 2 * n - 1)
        parents[n:-1] = np.arange(n + 1, 2 * n - 1)
    strengths = np.concatenate([np.zeros(n), np.linspace(0.1, 1, n - 1)]).astype(np.float32)
    return MergeTree(parents, strengths)


@pytest.mark.parametrize("suffix", [".png", ".json", ".npz"])
@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_round_trip_is_exact(suffix, width, height, seed):
    import tempfile
    from pathlib import Path

    values = np.random.default_rng(seed).integers(0, 4, (height, width))
    labels = np.unique(values, return_inverse=True)[1].reshape(height, width).astype(np.int32)
    ours = Segmentation.from_labels(labels, chain(int(labels.max()) + 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        ours.save(path)
        theirs = Segmentation.load(path)
        assert [file.name for file in Path(folder).iterdir()] == [path.name]
    assert np.array_equal(ours.labels, theirs.labels)
    assert np.array_equal(ours.boxes, theirs.boxes)
    assert np.array_equal(ours.tree.parents, theirs.tree.parents)
    assert np.array_equal(ours.tree.strengths, theirs.tree.strengths)


def test_png_is_a_plain_16_bit_label_map(tmp_path):
    labels = np.arange(300, dtype=np.int32).reshape(3, 100)
    Segmentation.from_labels(labels, chain(300)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        assert np.array_equal(np.asarray(image), labels)


def test_coco_is_read_by_pycocotools(tmp_path):
    mask = pytest.importorskip("pycocotools.mask")
    labels = np.array([[0, 0, 1], [2, 0, 1]], dtype=np.int32)
    Segmentation.from_labels(labels, chain(3)).save(tmp_path / "a.json")
    for i, annotation in enumerate(json.loads((tmp_path / "a.json").read_text())["annotations"]):
        assert np.array_equal(mask.decode(annotation["segmentation"]).astype(bool), labels == i)
        assert mask.toBbox(annotation["segmentation"]).tolist() == annotation["bbox"]
        assert mask.area(annotation["segmentation"]) == annotation["area"]


@pytest.mark.parametrize("suffix", [".png", ".json", ".npz"])
@pytest.mark.parametrize("content", [b"", b"text", b"{}", b"PK\x03\x04"])
def test_damaged_files_are_named(tmp_path, suffix, content):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken.* is not a segmentation written by subobject"):
        Segmentation.load(path)


def test_unknown_suffixes_and_missing_files_are_named(tmp_path):
    segmentation = Segmentation.from_labels(np.zeros((2, 2), np.int32), chain(1))
    with pytest.raises(ValueError, match=r"use one of the suffixes \.png, \.json, \.npz"):
        segmentation.save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="does not exist"):
        Segmentation.load(tmp_path / "a.npz")


def test_a_png_refuses_more_labels_than_16_bits_hold(tmp_path):
    labels = np.arange(70_000, dtype=np.int32).reshape(100, 700)
    with pytest.raises(ValueError, match="65,536"):
        Segmentation.from_labels(labels, chain(70_000)).save(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
