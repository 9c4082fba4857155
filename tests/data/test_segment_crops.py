"""Training batches of segments: determinism, shapes, and what augmentation keeps."""

import numpy as np
import pytest
from PIL import Image

from subobject.data.bsds500 import read_split
from subobject.data.segment_crops import SegmentCrops, SegmentOptions, annotated_segments, split_components


@pytest.fixture
def images(tmp_path):
    """Two images with two annotators each, in the layout of BSDS500."""
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / folder / "train").mkdir(parents=True)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "images/train" / f"{name}.jpg")
        for annotator in range(2):
            labels = np.ones((40, 60), dtype=np.uint8)
            labels[: 10 + annotator, 20:] = 2
            labels[30:, :20] = 2
            labels[25, 40:42] = 3
            Image.fromarray(labels).save(tmp_path / "labels/train" / f"{name}_{annotator}.png")
    (tmp_path / "boundaries/train").mkdir(parents=True)
    for path in (tmp_path / "labels/train").glob("*.png"):
        Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / "boundaries/train" / path.name)
    return read_split(tmp_path, "train")


def test_components_are_split_and_small_ones_left_out(images):
    components, boxes = split_components(images[0].labels()[0], min_area=9)
    assert sorted(boxes.tolist()) == [[0, 0, 60, 40], [0, 30, 20, 40], [20, 0, 60, 10]]
    assert np.count_nonzero(components < 0) == 2
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        y, x = np.nonzero(components == i)
        assert (x.min(), y.min(), x.max() + 1, y.max() + 1) == (x0, y0, x1, y1)


def test_items_depend_on_seed_and_index_only(images):
    options = SegmentOptions(batch=6, context=64, annotators=2)
    first, second = (SegmentCrops(images, 5, options, seed=3) for _ in range(2))
    for index in (4, 0):
        ours, theirs = first[index], second[index]
        assert all(np.array_equal(ours[name], theirs[name]) for name in ("pixels", "sizes"))
    assert not np.array_equal(first[0]["sizes"], first[1]["sizes"])
    assert not np.array_equal(SegmentCrops(images, 5, options, seed=4)[0]["pixels"], first[0]["pixels"])


def test_batches_hold_valid_sequences_of_similar_length(images):
    crops = SegmentCrops(images, 40, SegmentOptions(batch=6, context=64, scale=(0.1, 1.0)), seed=0)
    held = padded = 0
    for index in range(len(crops)):
        item = crops[index]
        lengths = item["sizes"].prod(axis=1)
        assert item["pixels"].shape == (6, lengths.max(), 4)
        assert item["pixels"].dtype == np.float32
        assert lengths.max() <= 64
        assert 0 <= item["pixels"].min() <= item["pixels"].max() <= 1
        for sequence, length in zip(item["pixels"], lengths, strict=True):
            assert not sequence[length:].any()
            assert not sequence[sequence[:, 3] == 0].any()
            assert sequence[:, 3].any()
        held, padded = held + lengths.sum(), padded + lengths.max() * 6
    assert padded < 1.3 * held


def test_without_augmentation_items_are_the_packed_segments(images):
    options = SegmentOptions(batch=4, context=100, annotators=2, scale=(1.0, 1.0), flip=0, jitter=0)
    item = SegmentCrops(images, 1, options, seed=0)[0]
    packed = [one for image in images for one, _ in annotated_segments(image, 2, 100)]
    known = [one[i] for one in packed for i in range(len(one))]
    for sequence, size in zip(item["pixels"], item["sizes"], strict=True):
        assert any(len(one) == size.prod() and np.allclose(one, sequence[: len(one)], atol=1e-6) for one in known)


def test_bad_requests_are_refused(images):
    with pytest.raises(ValueError, match="no segment of 9999 or more pixels in 2 images"):
        SegmentCrops(images, 1, SegmentOptions(min_area=9999), seed=0)
    with pytest.raises(ValueError, match="0 < low <= high <= 1"):
        SegmentOptions(scale=(0.5, 2.0))
    with pytest.raises(IndexError, match="item 1 of 1"):
        SegmentCrops(images, 1, SegmentOptions(batch=2), seed=0)[1]
