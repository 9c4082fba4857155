"""Random scenes keep every rule of CLEVR's generator, and label maps show what a camera sees."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subobject.data import clevr_scenes
from subobject.data.clevr import COLOURS, MATERIALS, SHAPES, SIZES
from subobject.data.clevr_geometry import CAMERA_POSITION, SCALES, Camera, label_map, unit_mesh
from subobject.data.clevr_scenes import (
    CAMERA_JITTER,
    LAMP_JITTER,
    LAMPS,
    MARGIN,
    MIN_DISTANCE,
    RELATIONS,
    directions,
    min_pixels,
    sample_scene,
)

SIZE = (160, 120)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from(["train", "val"]), st.integers(0, 99_999))
def test_every_rule_holds(seed, split, index):
    scene, labels = sample_scene(seed, split, index, SIZE)
    objects = scene["objects"]
    assert 3 <= len(objects) <= 10
    for one in objects:
        assert (one["shape"] in SHAPES, one["size"] in SIZES, one["material"] in MATERIALS, one["color"] in COLOURS) == (
            True,
        ) * 4
        x, y, z = one["3d_coords"]
        assert max(abs(x), abs(y)) <= 3
        assert z == SCALES[one["size"]]
        assert 0 <= one["rotation"] < 360
    for i, one in enumerate(objects):
        for other in objects[:i]:
            offset = np.subtract(one["3d_coords"], other["3d_coords"])[:2]
            gap = math.hypot(*offset) - SCALES[one["size"]] - SCALES[other["size"]]
            assert gap >= MIN_DISTANCE
            for name in RELATIONS:
                along = float(offset @ np.array(scene["directions"][name])[:2])
                assert not 0 < along < MARGIN - 1e-9
    assert np.bincount(labels.ravel(), minlength=len(objects) + 1).min() >= min_pixels(SIZE)
    assert labels.shape == SIZE[::-1]
    assert labels.max() == len(objects)
    assert np.all(np.abs(np.subtract(scene["camera"], CAMERA_POSITION)) <= CAMERA_JITTER)
    assert all(np.all(np.abs(np.subtract(scene["lamps"][name], LAMPS[name])) <= LAMP_JITTER) for name in LAMPS)


def test_a_scene_is_a_function_of_its_arguments():
    first, labels = sample_scene(5, "train", 7, SIZE)
    again, same = sample_scene(5, "train", 7, SIZE)
    assert first == again
    np.testing.assert_array_equal(labels, same)
    others = [sample_scene(*arguments, SIZE)[0]["objects"] for arguments in [(6, "train", 7), (5, "val", 7), (5, "train", 8)]]
    assert all(objects != first["objects"] for objects in others)


def test_numbers_of_objects_and_attributes_are_spread():
    scenes = [sample_scene(0, "spread", i, SIZE)[0]["objects"] for i in range(200)]
    counts = np.bincount([len(objects) for objects in scenes], minlength=11)[3:]
    assert counts.min() >= 10
    for name, known in {"shape": SHAPES, "size": SIZES, "material": MATERIALS, "color": COLOURS}.items():
        values = [one[name] for objects in scenes for one in objects]
        shares = np.array([values.count(word) for word in known]) / len(values)
        # Large objects find a place less often, and crowded scenes start over: not quite even, as in CLEVR.
        assert np.all(np.abs(shares * len(known) - 1) < 0.35), name


def test_directions_are_those_of_the_release():
    """Measured in CLEVR's Blender file; released scenes carry these constants."""
    axes = directions()
    np.testing.assert_allclose(axes["behind"], (-0.75449, 0.65631, 0), atol=1e-5)
    np.testing.assert_allclose(axes["right"], (0.65631, 0.75449, 0), atol=1e-5)
    np.testing.assert_allclose(axes["front"], -axes["behind"])
    np.testing.assert_allclose(axes["left"], -axes["right"])
    np.testing.assert_allclose(axes["above"], (0, 0, 1))


def test_relationships_by_their_definition():
    scene, _ = sample_scene(1, "val", 3, SIZE)
    for name, table in scene["relationships"].items():
        axis = np.array(scene["directions"][name])
        for i, one in enumerate(scene["objects"]):
            expected = [
                j
                for j, other in enumerate(scene["objects"])
                if i != j and float(np.subtract(other["3d_coords"], one["3d_coords"]) @ axis) > 0.2
            ]
            assert table[i] == expected


def test_projection_by_hand():
    """At rest the origin is in the middle of the picture, 11.264 away; one unit up is focal / distance nearer to the top."""
    camera = Camera(CAMERA_POSITION, (320, 240))
    x, y, depth = camera.project(np.zeros(3))
    assert (x, y, depth) == pytest.approx((160, 120, 11.264), abs=1e-3)
    right, down, forward = camera.axes()
    moved = camera.project(right)
    assert moved == pytest.approx((160 + 350 / depth, 120, depth))
    assert camera.project(down)[1] > 120
    assert camera.project(np.array([0.0, 0, 1]))[1] < 120
    assert forward == pytest.approx(-np.array(CAMERA_POSITION) / depth)


def test_pixel_coordinates_fall_on_the_object():
    """The centre of an object that nothing hides shows that object."""
    scene, labels = sample_scene(2, "val", 0, SIZE)
    camera = Camera(tuple(scene["camera"]), SIZE)
    for one in scene["objects"]:
        alone = label_map([one], camera)
        x, y, depth = one["pixel_coords"]
        assert alone[y, x] == 1
        assert 7 < depth < 16
    assert labels.max() == len(scene["objects"])


@pytest.mark.parametrize("shape", SHAPES)
def test_meshes_are_closed_and_face_outwards(shape):
    mesh = unit_mesh(shape)
    np.testing.assert_allclose(mesh.vertices.min(axis=0), -1, atol=5e-3)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), 1, atol=5e-3)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    centre, areas = (a + b + c) / 3, np.linalg.norm(across, axis=1) / 2
    normals = mesh.normals[mesh.faces].mean(axis=1)
    assert np.all(np.sum(across * centre, axis=1) >= -1e-12)
    assert np.all(np.sum(across * normals, axis=1) >= 0)
    volume = np.sum(across * a) / 6  # divergence theorem: right for closed surfaces only
    solid = {"cube": 8, "sphere": 4 / 3 * math.pi, "cylinder": 2 * math.pi}[shape]
    assert volume == pytest.approx(solid, rel=0.06)
    assert volume < solid
    assert areas.sum() > 0


def sphere_labels(spheres, camera):
    """Slow twin: cast a ray through each pixel's centre and solve for the nearest sphere."""
    width, height = camera.size_wh
    right, down, forward = camera.axes()
    labels = np.zeros((height, width), int)
    for row in range(height):
        for column in range(width):
            focal = 35 / 32 * width
            ray = forward + ((column + 0.5 - width / 2) * right + (row + 0.5 - height / 2) * down) / focal
            ray /= np.linalg.norm(ray)
            nearest = math.inf
            for i, (centre, radius) in enumerate(spheres):
                towards = np.subtract(centre, camera.position)
                along = towards @ ray
                square = radius**2 - (towards @ towards - along**2)
                if square > 0 and along - math.sqrt(square) < nearest:
                    nearest = along - math.sqrt(square)
                    labels[row, column] = i + 1
    return labels


def test_label_map_is_that_of_rays():
    camera = Camera((7.1, -6.8, 5.0), (80, 60))
    places = [((-1.0, 1.0, 0.7), "large"), ((0.3, -0.2, 0.7), "large"), ((1.2, -0.9, 0.35), "small"), ((9.0, 9.0, 0.35), "small")]
    objects = [{"shape": "sphere", "size": size, "rotation": 3.0, "3d_coords": list(at)} for at, size in places]
    expected = sphere_labels([(at, SCALES[size]) for at, size in places], camera)
    found = label_map(objects, camera)
    assert {1, 2, 3} <= set(expected.ravel())
    assert np.mean(found != expected) < 0.003  # a mesh of 64 sides is a little smaller than its sphere


def test_a_cube_turns_by_radians():
    """The release calls the rotation degrees, but its pictures were drawn with the number as radians."""
    camera = Camera(CAMERA_POSITION, (80, 60))

    def cube(rotation):
        return label_map([{"shape": "cube", "size": "large", "rotation": rotation, "3d_coords": [0, 0, 0.7]}], camera)

    np.testing.assert_array_equal(cube(0.3), cube(0.3 + math.pi / 2))
    assert np.any(cube(0.3) != cube(0.3 + 90))


def test_a_picture_too_flat_for_any_scene(monkeypatch):
    monkeypatch.setattr(clevr_scenes, "_MAX_HIDDEN", 3)
    with pytest.raises(ValueError, match="shows them all at 16 x 4000 pixels: use a larger image"):
        sample_scene(0, "val", 0, (16, 4000))
