"""Random CLEVR scenes, drawn as the generator of CLEVR draws them, in the format of its scene files.

A scene is a function of seed, split, index and image size alone. Source: the generator's published code (Johnson et al., CVPR
2017): 3 to 10 objects on a square of the ground, none nearer to another than a margin, none beside, before or behind another by
so little that the relation is in doubt, each showing enough pixels. As in the released scenes, ``directions`` are those of the
camera at rest, although each scene moves it a little.

Beyond the official fields a scene holds ``camera`` (its position) and ``lamps`` (their positions); readers of the official format
ignore them.
"""

import zlib
from typing import Any

import numpy as np

from subobject.data.clevr import COLOURS, MATERIALS, SHAPES, SIZES, image_name
from subobject.data.clevr_geometry import CAMERA_POSITION, SCALES, Camera, label_map, visible_pixels

MIN_OBJECTS, MAX_OBJECTS = 3, 10
MIN_DISTANCE = 0.25
"""Smallest gap between the outlines of two objects on the ground, in world units."""
MARGIN = 0.4
"""Two objects differ by at least this much, or not at all, along each of the four directions."""
RELATION_MARGIN = 0.2
"""An object is left of another if it lies at least this much further to the left."""
EXTENT = 3.0
"""Objects have their centre within this distance of the origin along x and along y."""
CAMERA_JITTER, LAMP_JITTER = 0.5, 1.0
MAX_TRIES = 50
MIN_PIXELS = 200
"""Pixels that an object must show in an image of ``REFERENCE_SIZE``; other sizes in proportion to their area."""
REFERENCE_SIZE = (320, 240)
LAMPS = {"key": (6.4467, -2.9052, 4.2584), "fill": (-4.6711, -4.0136, 3.0112), "back": (-1.1685, 2.6460, 5.8157)}
RELATIONS = ("left", "right", "front", "behind")
_MAX_HIDDEN = 1000


def directions() -> dict[str, np.ndarray]:
    """Return the unit vectors of the six directions, ``(3,)`` float64 each, of the camera at rest."""
    right, _, forward = Camera(CAMERA_POSITION, REFERENCE_SIZE).axes()
    behind = np.array([forward[0], forward[1], 0.0])
    behind /= np.linalg.norm(behind)
    up = np.array([0.0, 0.0, 1.0])
    return {"left": -right, "right": right, "front": -behind, "behind": behind, "above": up, "below": -up}


def min_pixels(size_wh: tuple[int, int]) -> float:
    """Return how many pixels each object must show in an image of this width and height."""
    return MIN_PIXELS * size_wh[0] * size_wh[1] / (REFERENCE_SIZE[0] * REFERENCE_SIZE[1])


def scene_seed(seed: int, split: str, index: int) -> np.random.SeedSequence:
    """Return the source of randomness of one scene."""
    return np.random.SeedSequence([seed, zlib.crc32(split.encode()), index])


def sample_scene(seed: int, split: str, index: int, size_wh: tuple[int, int]) -> tuple[dict[str, Any], np.ndarray]:
    """Draw a scene whose objects can all be seen.

    Args:
        seed: Seed of the data set.
        split: Name of the split; each split has scenes of its own.
        index: Index of the image in the split.
        size_wh: Width and height of the image; they decide what can be seen.

    Returns:
        The scene in the format of the scene file, and its label map ``(H, W)`` uint16: 0 for the ground, ``1 + i`` for object
        ``i``.

    Raises:
        ValueError: If no scene shows every object, which happens for very small or very flat images only.
    """
    random = np.random.default_rng(scene_seed(seed, split, index))
    count = int(random.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    position = [float(at) for at in np.array(CAMERA_POSITION) + random.uniform(-CAMERA_JITTER, CAMERA_JITTER, 3)]
    camera = Camera((position[0], position[1], position[2]), size_wh)
    lamps = {name: (np.array(at) + random.uniform(-LAMP_JITTER, LAMP_JITTER, 3)).tolist() for name, at in LAMPS.items()}
    axes = directions()
    for _ in range(_MAX_HIDDEN):
        objects = _place_objects(random, count, axes)
        labels = label_map(objects, camera)
        if visible_pixels(labels, count).min() >= min_pixels(size_wh):
            break
    else:
        raise ValueError(f"no scene of {count} objects shows them all at {size_wh[0]} x {size_wh[1]} pixels: use a larger image")
    for one in objects:
        x, y, depth = camera.project(one["3d_coords"])
        one["pixel_coords"] = [round(x), size_wh[1] - round(size_wh[1] - y), float(depth)]
    scene = {
        "split": split,
        "image_index": index,
        "image_filename": image_name(split, index),
        "objects": objects,
        "directions": {name: axis.tolist() for name, axis in axes.items()},
        "relationships": relationships(objects, axes),
        "camera": list(position),
        "lamps": lamps,
    }
    return scene, labels


def relationships(objects: list[dict[str, Any]], axes: dict[str, np.ndarray]) -> dict[str, list[list[int]]]:
    """Return for each relation and each object ``i`` the sorted indices of all objects in that relation to ``i``."""
    coordinates = np.array([one["3d_coords"] for one in objects])
    offsets = coordinates[None, :, :] - coordinates[:, None, :]
    return {name: [np.nonzero(row > RELATION_MARGIN)[0].tolist() for row in offsets @ axes[name]] for name in RELATIONS}


def _place_objects(random: np.random.Generator, count: int, axes: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Place objects one by one, and all anew when one of them finds no place."""
    while True:
        objects = _try_objects(random, count, axes)
        if objects is not None:
            return objects


def _try_objects(random: np.random.Generator, count: int, axes: dict[str, np.ndarray]) -> list[dict[str, Any]] | None:
    across = np.stack([axes["right"][:2], axes["behind"][:2]], axis=1)
    places, scales = np.empty((count, 2)), np.empty(count)
    objects: list[dict[str, Any]] = []
    for i in range(count):
        size = SIZES[random.integers(len(SIZES))]
        scales[i] = SCALES[size]
        if not any(_try_place(places, scales, i, across, random) for _ in range(MAX_TRIES)):
            return None
        objects.append(
            {
                "shape": SHAPES[random.integers(len(SHAPES))],
                "color": COLOURS[random.integers(len(COLOURS))],
                "rotation": float(random.uniform(0, 360)),
                "material": MATERIALS[random.integers(len(MATERIALS))],
                "size": size,
                "3d_coords": [*places[i].tolist(), SCALES[size]],
            }
        )
    return objects


def _try_place(places: np.ndarray, scales: np.ndarray, i: int, across: np.ndarray, random: np.random.Generator) -> bool:
    """Draw a place for object ``i`` into ``places``; whether it keeps the distance and the margins to all before it."""
    places[i] = random.uniform(-EXTENT, EXTENT, 2)
    offsets = places[:i] - places[i]
    gaps = np.hypot(offsets[:, 0], offsets[:, 1]) - scales[:i] - scales[i]
    along = np.abs(offsets @ across)
    return bool(np.all(gaps >= MIN_DISTANCE) and not np.any((along > 0) & (along < MARGIN)))
