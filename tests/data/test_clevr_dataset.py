"""Drawing of scenes and of splits: needs Mitsuba, and draws very small pictures."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from subobject.cli.main import app
from subobject.data.clevr import read_clevr
from subobject.data.clevr_dataset import SplitSettings, render_split
from subobject.data.clevr_geometry import Camera, label_map
from subobject.data.clevr_render import Renderer, choose_variant, encode_srgb
from subobject.data.clevr_scenes import sample_scene

SIZE = (80, 60)


@pytest.fixture(scope="module")
def variant():
    pytest.importorskip("mitsuba")
    return choose_variant()


@pytest.fixture(scope="module")
def renderer(variant):
    return Renderer(variant, SIZE, 4, denoise=False)


@pytest.fixture(scope="module")
def settings(variant):
    return SplitSettings("val", seed=3, width=80, height=60, samples=1, denoise=False)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, settings):
    """A folder with two scenes."""
    folder = tmp_path_factory.mktemp("clevr")
    outcomes = list(render_split(folder, settings, 2))
    assert [one.error for one in outcomes] == [None, None]
    return folder


def one_object(**changes):
    values = {"shape": "sphere", "size": "large", "material": "rubber", "color": "red", "rotation": 0.0, "3d_coords": [0, 0, 0.7]}
    scene, _ = sample_scene(0, "val", 0, SIZE)
    return scene | {"camera": [7.4811, -6.5076, 5.3437], "objects": [values | changes]}


def test_srgb_by_hand():
    """The values of the standard: black, the end of the straight piece, middle gray, white; beyond is clipped."""
    linear = np.array([-1, 0, 0.0031308, 0.2140, 1, 7, np.nan])
    np.testing.assert_array_equal(encode_srgb(linear), [0, 0, 10, 127, 255, 255, 0])


def test_objects_are_where_the_label_map_says(renderer):
    scene = one_object()
    inside = label_map(scene["objects"], Camera(tuple(scene["camera"]), SIZE)) == 1
    pixels = renderer(scene, 0).astype(int)
    red = pixels[..., 0] > pixels[..., 1] + 25
    assert np.mean(red[inside]) > 0.95
    assert np.mean(red[~inside]) < 0.02


def test_colours_and_materials_can_be_told_apart(renderer):
    inside = label_map(one_object()["objects"], Camera(tuple(one_object()["camera"]), SIZE)) == 1
    pixels = {
        (colour, material): renderer(one_object(color=colour, material=material), 0)[inside].astype(float)
        for colour in ("red", "blue", "gray")
        for material in ("rubber", "metal")
    }
    for material in ("rubber", "metal"):
        red, blue, gray = (pixels[colour, material].mean(axis=0) for colour in ("red", "blue", "gray"))
        assert red[0] > red[2] + 20
        assert blue[2] > blue[0] + 20
        assert np.ptp(gray) < 25
    for colour in ("red", "blue", "gray"):
        rubber, metal = (pixels[colour, material].max(axis=1) for material in ("rubber", "metal"))
        assert metal.std() / metal.mean() > 1.3 * rubber.std() / rubber.mean(), "metal has highlights and dark reflections"


def test_a_scene_looks_the_same_each_time(renderer):
    """Whatever was drawn between: one scene is loaded and changed. Some scenes lack a material."""
    scenes = [sample_scene(1, "val", i, SIZE)[0] for i in range(3)] + [one_object(), one_object(material="metal")]
    first = [renderer(scene, i) for i, scene in enumerate(scenes)]
    for i in reversed(range(len(scenes))):
        np.testing.assert_array_equal(renderer(scenes[i], i), first[i])
    assert np.any(first[0] != first[1])


@pytest.mark.long
def test_the_scalar_variant_draws_the_same_picture(variant, tmp_path):
    """In processes of their own, since a variant is set for the whole process."""
    code = (
        "import sys, numpy\n"
        "from subobject.data.clevr_render import Renderer\n"
        "from subobject.data.clevr_scenes import sample_scene\n"
        "scene = sample_scene(1, 'val', 0, (80, 60))[0]\n"
        "numpy.save(sys.argv[2], Renderer(sys.argv[1], (80, 60), 64, denoise=False)(scene, 0))\n"
    )
    if variant == "scalar_rgb":
        pytest.skip("no LLVM library here")
    pictures = []
    for name in (variant, "scalar_rgb"):
        subprocess.run([sys.executable, "-c", code, name, str(tmp_path / f"{name}.npy")], check=True)
        pictures.append(np.load(tmp_path / f"{name}.npy").astype(float))
    blocks = [picture.reshape(6, 10, 8, 10, 3).mean(axis=(1, 3)) for picture in pictures]
    assert np.abs(blocks[0] - blocks[1]).max() < 6
    assert np.abs(blocks[0] - blocks[1]).mean() < 1.5


def test_a_split_reads_back_as_clevr(drawn, settings):
    images = read_clevr(drawn, "val")
    assert [image.id for image in images] == ["CLEVR_val_000000", "CLEVR_val_000001"]
    for index, image in enumerate(images):
        scene, labels = sample_scene(settings.seed, "val", index, SIZE)
        np.testing.assert_array_equal(image.mask(), labels)
        assert image.image().shape == (60, 80, 3)
        assert [one.shape for one in image.objects] == [one["shape"] for one in scene["objects"]]
    document = json.loads((drawn / "scenes" / "CLEVR_val_scenes.json").read_text())
    assert document["info"]["split"] == "val"
    assert document["scenes"][1]["image_index"] == 1


def test_a_second_run_draws_what_is_missing(drawn, settings):
    picture, mask = (drawn / kind / "val" / "CLEVR_val_000000.png" for kind in ("images", "masks"))
    before = picture.read_bytes()
    assert [one.skipped for one in render_split(drawn, settings, 2)] == [True, True]
    mask.unlink()
    picture.unlink()
    outcomes = {one.index: one for one in render_split(drawn, settings, 2)}
    assert (outcomes[0].skipped, outcomes[1].skipped) == (False, True)
    assert picture.read_bytes() == before
    assert mask.is_file()


def test_other_settings_are_refused(drawn, settings):
    with pytest.raises(ValueError, match="holds the split 'val' with seed 3, not 4: use the same options"):
        render_split(drawn, SplitSettings("val", seed=4, width=80, height=60, samples=1, denoise=False), 1)


def test_a_killed_process_costs_one_scene(tmp_path, settings):
    run = render_split(tmp_path, settings, 6)
    outcomes = [next(run)]
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)
    outcomes += list(run)
    failed = [one for one in outcomes if one.error is not None]
    assert len(outcomes) == 6
    assert len(failed) == 1
    assert "the process that drew it died" in failed[0].error
    assert len(read_clevr(tmp_path, "val")) == 5
    again = [one for one in render_split(tmp_path, settings, 6) if not one.skipped]
    assert [(one.index, one.error) for one in again] == [(failed[0].index, None)]
    assert len(read_clevr(tmp_path, "val")) == 6


def test_a_run_that_is_closed_early_leaves_a_readable_split(tmp_path, settings):
    run = render_split(tmp_path, settings, 40)
    assert next(run).error is None
    run.close()
    assert 1 <= len(read_clevr(tmp_path, "val")) <= 3
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "80*60"], "--size '80*60' is not a size: write WIDTHxHEIGHT"),
        (["--size", "80x4"], "a picture of 80 x 4 pixels cannot be drawn"),
        (["--split", "../train"], "the split '../train' cannot be part of a file name"),
        (["--samples", "0"], "the number of samples is 0"),
        (["--seed", "-1"], "the seed is -1"),
        (["--count", "0"], "use 1 or more"),
        (["--workers", "0"], "use 1 or more"),
    ],
)
def test_wrong_options_get_one_sentence(tmp_path, options, message):
    result = CliRunner().invoke(app, ["data", "clevr-render", "-o", str(tmp_path / "out"), *options])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_captions_command(drawn):
    result = CliRunner().invoke(app, ["data", "clevr-captions", str(drawn), "--split", "val", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["captions"] == 2
    lines = (drawn / "captions" / "val.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["image"] == "CLEVR_val_000001.png"
    assert json.loads(lines[1])["caption"].startswith("Total ")


def test_a_folder_without_scenes(tmp_path):
    result = CliRunner().invoke(app, ["data", "clevr-captions", str(tmp_path), "--split", "val"])
    assert result.exit_code == 2
    assert "does not hold the CLEVR split 'val'" in result.stderr
