"""Every reader of the table on a tiny data set in its official layout, and what each refuses."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import pytest

from subobject.data import READERS, read_images
from subobject.data.boundary_crops import BoundaryCrops, CropOptions
from subobject.data.coco_panoptic import panoptic_ids
from subobject.data.layers import stack_masks
from tests.data import layouts

WRITERS = {
    "bsds500": layouts.write_bsds500,
    "sa1b": layouts.write_sa1b,
    "ade20k": layouts.write_ade20k,
    "coco-panoptic": lambda folder: layouts.write_coco_panoptic(folder, "train2017"),
    "folder": layouts.write_folder,
}


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_reader_follows_the_protocol(name, tmp_path):
    images = read_images(name, WRITERS[name](tmp_path), ["train"])
    listed = images if isinstance(images, Sequence) else [image for _, image in islice(images.images(0), 2)]
    assert listed
    for image in listed:
        pixels, annotations = image.image(), image.layers()
        assert image.id
        assert pixels.shape == (*layouts.SIZE, 3)
        assert pixels.dtype == np.uint8
        assert annotations
        for stack in annotations:
            assert stack.shape[1:] == layouts.SIZE
            assert stack.dtype == np.int32
            assert stack.min() >= -1
            assert stack.max() >= 1


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_folder_without_the_data_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"holds? no|does not hold"):
        read_images(name, tmp_path, ["train"])
    if name != "folder":
        with pytest.raises(ValueError, match="unknown split 'x'"):
            read_images(name, WRITERS[name](tmp_path), ["x"])


def test_every_reader_of_the_table_has_a_test():
    assert set(READERS) - set(WRITERS) <= {"clevr"}, "add a writer of its layout (CLEVR has tests of its own)"


def test_unknown_names_and_missing_splits_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'ade': did you mean 'ade20k'"):
        read_images("ade", tmp_path, ["train"])
    with pytest.raises(ValueError, match="no split of folder is named"):
        read_images("folder", tmp_path, [])
    with pytest.raises(ValueError, match="read as a stream: give one split"):
        read_images("sa1b", layouts.write_sa1b(tmp_path), ["train", "train"])


def test_splits_follow_each_other(tmp_path):
    images = read_images("ade20k", layouts.write_ade20k(tmp_path), ["val", "train"])
    assert [image.id for image in images] == ["ADE_val_00000001", "ADE_train_00000001"]


def test_ade20k_marks_what_nobody_labelled(tmp_path):
    (image,) = read_images("ade20k", layouts.write_ade20k(tmp_path), ["val"])
    (stack,) = image.layers()
    assert stack[0, 0].tolist()[:2] == [-1, 2]
    assert np.unique(stack).tolist() == [-1, 2, 3]


def test_coco_panoptic_decodes_colours(tmp_path):
    assert panoptic_ids(np.array([[[1, 2, 3], [255, 255, 255]]], np.uint8)).tolist() == [[1 + 512 + 3 * 65536, 2**24 - 1]]
    (image,) = read_images("coco-panoptic", layouts.write_coco_panoptic(tmp_path), ["val2017"])
    (stack,) = image.layers()
    assert stack[0, 0].tolist()[:2] == [-1, 0]
    assert np.array_equal(stack[0, 1:], layouts.halves()[1:])
    (tmp_path / "annotations" / "panoptic_val2017.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match="is not a COCO panoptic file: KeyError 'annotations'"):
        read_images("coco-panoptic", tmp_path, ["val"])


def test_a_plain_folder_with_several_annotators_and_splits(tmp_path):
    layouts.write_folder(tmp_path / "plain", annotators=3)
    images = read_images("folder", tmp_path / "plain", ["train"])
    assert [len(image.layers()) for image in images] == [3, 3]
    assert [stack[0, 0].sum() for stack in images[0].layers()] == [25, 24, 23]
    layouts.save(tmp_path / "split" / "images" / "val" / "a_1.jpg", layouts.picture())
    layouts.save(tmp_path / "split" / "labels" / "val" / "a_1.png", layouts.halves().astype(np.uint16) * 1000)
    (image,) = read_images("folder", tmp_path / "split", ["val"])
    assert np.unique(image.layers()[0]).tolist() == [0, 1000]


def test_label_maps_that_are_none_are_named(tmp_path):
    folder = layouts.write_folder(tmp_path)
    layouts.save(folder / "labels" / "a.png", layouts.picture())
    first, _ = read_images("folder", folder, ["train"])
    with pytest.raises(ValueError, match=r"a\.png cannot be read: its pixel format is RGB"):
        first.layers()
    (folder / "labels" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"b\.png has no label map"):
        read_images("folder", folder, ["train"])


def test_an_image_that_cannot_be_read_is_replaced_by_the_next(tmp_path, caplog):
    folder = layouts.write_folder(tmp_path)
    (folder / "images" / "a.png").write_bytes(b"no image")
    images = read_images("folder", folder, ["train"])
    crops = BoundaryCrops(images, 4, CropOptions(size=16), 0)
    assert crops[0]["pixels"].shape == (16, 16, 3)
    assert "a.png cannot be read" in caplog.text
    layouts.save(folder / "labels" / "b.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(ValueError, match="none of the 2 images can be read"):
        BoundaryCrops(images, 4, CropOptions(size=16), 0)[0]
    assert r"has size (30, 40), but its annotation (5, 5)" in caplog.text


def test_masks_are_stacked_without_overlap():
    random = np.random.default_rng(0)
    masks = random.random((9, 12, 15)) > random.random((9, 1, 1))
    masks[4] = False
    stack = stack_masks(masks, (12, 15))
    for index, mask in enumerate(masks):
        rows = [layer for layer in stack if np.any(layer == index)]
        assert len(rows) == (1 if mask.any() else 0)
        assert all(np.array_equal(layer == index, mask) for layer in rows)
    assert len(stack) <= np.count_nonzero(masks.any(axis=(1, 2)))
    assert stack_masks([], (2, 2)).tolist() == [[[-1, -1], [-1, -1]]]
