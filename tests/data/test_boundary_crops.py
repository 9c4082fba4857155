"""Training crops of boundary networks."""

import numpy as np
import pytest
from PIL import Image

from subobject.data.boundary_crops import BoundaryCrops, CropOptions
from subobject.data.boundary_targets import TargetOptions, label_changes
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
        target = item["target"][0] == 1
        if target.sum() > 20:
            seen += 1
            near = np.zeros_like(edge)
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    near |= np.roll(edge, (dy, dx), axis=(0, 1))
            assert near[target].mean() > 0.95
    assert seen > 20


@pytest.mark.parametrize(("rotation", "upright"), [(0, True), (20, True), (180, False)])
def test_pictures_turn_no_further_than_allowed(image, rotation, upright):
    crops = BoundaryCrops([image], 40, CropOptions(size=32, rotation=rotation, blur=0, jitter=0, grey=0), 0)
    edges = [label_changes(item["pixels"][..., 0] // 128) for item in (crops[i] for i in range(40))]
    # The picture's one edge is vertical: it meets few columns where it stays so, and many where it lies down.
    columns = [int(edge.any(axis=0).sum()) for edge in edges]
    assert max(columns) >= (1 if upright else 30)
    assert max(columns) <= {0: 1, 20: 14, 180: 32}[rotation]


def test_the_whole_view_squeezes_and_flips(image):
    plain = CropOptions(size=40, view="whole", flip=0, grey=0, blur=0, jitter=0)
    (item,) = (BoundaryCrops([image], 1, plain, 0)[i] for i in range(1))
    assert item["pixels"].shape == (40, 40, 3)
    assert np.all(item["pixels"][:, :20] == 0)
    assert np.all(item["pixels"][:, 20:] == 255)
    assert np.flatnonzero(item["target"][0, 0]).tolist() == [19]
    flipped = CropOptions(size=40, view="whole", flip=1, grey=0, blur=0, jitter=0)
    assert np.all(BoundaryCrops([image], 1, flipped, 0)[0]["pixels"][:, :20] == 255)


def test_targets_are_chosen(image):
    each = BoundaryCrops([image], 1, CropOptions(size=32), 0, TargetOptions(annotators="each"))[0]["target"]
    assert each.shape == (2, 32, 32)
    assert set(np.unique(each)) <= {0, 1}
    wide = BoundaryCrops([image], 1, CropOptions(size=80), 0, TargetOptions(kind="band"))[0]["target"]
    thin = BoundaryCrops([image], 1, CropOptions(size=80), 0)[0]["target"]
    assert np.all(wide[thin > 0] > 0)
    assert wide.sum() > 2 * thin.sum()


def test_images_are_kept_only_while_there_is_room(image, monkeypatch):
    reads = []
    original = BsdsImage.image
    monkeypatch.setattr(BsdsImage, "image", lambda self: reads.append(1) or original(self))
    for memory, expected in ((1, 1), (0, 3)):
        reads.clear()
        crops = BoundaryCrops([image], 3, CropOptions(size=16, memory=memory), 0)
        for i in range(3):
            crops[i]
        assert len(reads) == expected


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="unknown view 'hole': did you mean 'whole'"):
        CropOptions(view="hole")
    with pytest.raises(ValueError, match="use 8 or more pixels"):
        CropOptions(size=4)
    with pytest.raises(ValueError, match="rotation is 270: use degrees from 0 to 180"):
        CropOptions(rotation=270)
