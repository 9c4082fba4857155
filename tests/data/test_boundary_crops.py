"""Targets and training crops of boundary networks."""

import numpy as np
import pytest
from PIL import Image

from subobject.data.boundary_crops import BoundaryCrops, CropOptions
from subobject.data.boundary_targets import annotator_fraction, label_changes
from subobject.data.bsds500 import BsdsImage


@pytest.fixture
def image(tmp_path) -> BsdsImage:
    """A 60 x 80 picture whose two annotators agree on one vertical line, and of whom one draws another."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:, 40:] = 255
    first = np.ones((60, 80), np.uint8)
    first[:, 40:] = 2
    second = first.copy()
    second[30:, 40:] = 3
    for name, array in (("a.png", pixels), ("0.png", first), ("1.png", second)):
        Image.fromarray(array).save(tmp_path / name)
    return BsdsImage("a", tmp_path / "a.png", (tmp_path / "0.png", tmp_path / "1.png"), ())


def test_fraction_counts_the_annotators_of_each_pixel(image):
    fraction = annotator_fraction(image.labels())
    assert np.all(fraction[:, 39] == 1)
    assert np.all(fraction[29, 41:] == 0.5)
    assert fraction.sum() == 60 + 40 * 0.5


def test_label_changes_equal_a_slow_twin():
    labels = np.random.default_rng(0).integers(0, 3, (7, 9))
    for y in range(7):
        for x in range(9):
            right = x + 1 < 9 and labels[y, x] != labels[y, x + 1]
            below = y + 1 < 7 and labels[y, x] != labels[y + 1, x]
            assert label_changes(labels)[y, x] == (right or below)


def test_crops_are_the_same_for_the_same_seed_and_differ_between_items(image):
    options = CropOptions(size=32)
    ours, again, other = (BoundaryCrops([image], 5, options, seed) for seed in (1, 1, 2))
    assert np.array_equal(ours[3]["pixels"], again[3]["pixels"])
    assert not np.array_equal(ours[3]["pixels"], other[3]["pixels"])
    assert not np.array_equal(ours[3]["pixels"], ours[4]["pixels"])
    with pytest.raises(IndexError):
        ours[5]


def test_boundaries_follow_the_picture_through_every_warp(image):
    crops = BoundaryCrops([image], 40, CropOptions(size=48, blur=0, jitter=0), 0)
    seen = 0
    for item in (crops[i] for i in range(40)):
        bright = item["pixels"].mean(axis=2) > 127
        edge = label_changes(bright.astype(np.uint8))
        target = item["target"] == 1
        if target.sum() > 20:
            seen += 1
            near = np.zeros_like(edge)
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    near |= np.roll(edge, (dy, dx), axis=(0, 1))
            assert near[target].mean() > 0.95
    assert seen > 20
