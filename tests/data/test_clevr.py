"""The official layout, written by hand as the release has it."""

import json

import numpy as np
import pytest
from PIL import Image

from subobject.data import read_images
from subobject.data.clevr import read_clevr


def scene(index, objects, split="val"):
    return {
        "split": split,
        "image_index": index,
        "image_filename": f"CLEVR_{split}_{index:06d}.png",
        "objects": objects,
        "directions": {},
        "relationships": {},
    }


def thing(x, y, **changes):
    values = {"shape": "cube", "size": "large", "material": "rubber", "color": "gray"}
    return values | {"3d_coords": [0.0, 0.0, 0.7], "rotation": 20.0, "pixel_coords": [x, y, 10.2]} | changes


def write_release(folder, scenes, split="val", mode="RGBA"):
    (folder / "images" / split).mkdir(parents=True)
    (folder / "scenes").mkdir()
    for one in scenes:
        pixels = np.full((12, 16, len(mode)), (10, 20, 30, 255)[: len(mode)], np.uint8)
        Image.fromarray(pixels, mode).save(folder / "images" / split / one["image_filename"])
    document = {"info": {"split": split, "version": "1.0"}, "scenes": scenes}
    (folder / "scenes" / f"CLEVR_{split}_scenes.json").write_text(json.dumps(document))


def test_reads_the_release(tmp_path):
    right, left = thing(300, 20, color="red", shape="sphere"), thing(7, 90, size="small", material="metal")
    write_release(tmp_path, [scene(1, [left]), scene(0, [right, left])])
    first, second = read_clevr(tmp_path, "val")
    assert (first.index, first.id, second.id) == (0, "CLEVR_val_000000", "CLEVR_val_000001")
    assert [one.colour for one in first.objects] == ["red", "gray"]
    assert [(one.size, one.material, one.shape, one.pixel) for one in first.left_to_right] == [
        ("small", "metal", "cube", (7.0, 90.0)),
        ("large", "rubber", "sphere", (300.0, 20.0)),
    ]
    np.testing.assert_array_equal(first.image(), np.full((12, 16, 3), (10, 20, 30), np.uint8))
    assert first.mask_path is None
    with pytest.raises(ValueError, match="no label map: the release of CLEVR has none"):
        first.mask()


def test_equal_x_keeps_the_order_of_the_file(tmp_path):
    write_release(tmp_path, [scene(0, [thing(5, 1, color="red"), thing(5, 9, color="blue"), thing(4, 9)])])
    assert [one.colour for one in read_clevr(tmp_path, "val")[0].left_to_right] == ["gray", "red", "blue"]


@pytest.mark.parametrize("bits", [np.uint8, np.uint16])
def test_reads_label_maps_beside_the_images(tmp_path, bits):
    write_release(tmp_path, [scene(0, [thing(5, 5)])], mode="RGB")
    labels = np.zeros((12, 16), bits)
    labels[3:5, 2:9] = 1
    (tmp_path / "masks" / "val").mkdir(parents=True)
    Image.fromarray(labels).save(tmp_path / "masks" / "val" / "CLEVR_val_000000.png")
    image = read_images("clevr", tmp_path, ["val"])[0]
    assert image.mask().dtype == np.int32
    np.testing.assert_array_equal(image.layers()[0][0], labels)


def test_a_mirrored_image_is_another_picture_with_the_objects_in_opposite_order(tmp_path):
    write_release(tmp_path, [scene(0, [thing(3, 5, color="red"), thing(10, 5, color="blue")])], mode="RGB")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / "val" / "CLEVR_val_000000.png")
    labels = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
    (tmp_path / "masks" / "val").mkdir(parents=True)
    Image.fromarray(labels).save(tmp_path / "masks" / "val" / "CLEVR_val_000000.png")
    image = read_clevr(tmp_path, "val")[0]
    mirrored = image.mirror()
    assert (image.name, mirrored.name) == ("CLEVR_val_000000.png", "CLEVR_val_000000.mirrored.png")
    np.testing.assert_array_equal(mirrored.image(), np.fliplr(pixels))
    np.testing.assert_array_equal(mirrored.mask(), np.fliplr(labels))
    assert [(one.colour, one.pixel) for one in mirrored.left_to_right] == [("blue", (5.0, 5.0)), ("red", (12.0, 5.0))]
    assert mirrored.mirror() == image


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "scenes" / "CLEVR_val_scenes.json").unlink(), "does not hold the CLEVR split 'val'"),
        (lambda folder: (folder / "scenes" / "CLEVR_val_scenes.json").write_text("{"), "is not a CLEVR scene file"),
        (lambda folder: (folder / "scenes" / "CLEVR_val_scenes.json").write_text('{"scenes": []}'), "holds no scene"),
        (lambda folder: (folder / "scenes" / "CLEVR_val_scenes.json").write_text('{"scenes": [{}]}'), "not in CLEVR's format"),
        (lambda folder: (folder / "images" / "val" / "CLEVR_val_000000.png").unlink(), "CLEVR_val_000000.png does not exist"),
    ],
)
def test_damage_gets_one_sentence(tmp_path, change, message):
    write_release(tmp_path, [scene(0, [thing(1, 1)])])
    change(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_clevr(tmp_path, "val")


def test_an_unknown_word_is_named(tmp_path):
    write_release(tmp_path, [scene(0, [thing(1, 1, color="pink")])])
    with pytest.raises(ValueError, match="unknown color 'pink': expected gray, red"):
        read_clevr(tmp_path, "val")
