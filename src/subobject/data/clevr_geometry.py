"""Geometry of a CLEVR scene: camera, the three shapes as meshes, and the label map that they cover.

World axes: x and y on the ground, z up, ground at z = 0. Image axes as everywhere: x to the right, y down, pixel column ``x``
spans ``[x, x + 1)``. The numbers are those of the generator of CLEVR (Johnson et al., CVPR 2017): its camera, and shapes of
half-extent 1 with rounded edges.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

CAMERA_POSITION = (7.4811, -6.5076, 5.3437)
FOCAL_LENGTH = 35 / 32
"""Focal length in widths of the image: 35 mm on a sensor 32 mm wide."""
SCALES = {"large": 0.7, "small": 0.35}
"""Half-extent of an object, in world units."""

_BEVEL = 0.15
_BEVEL_STEPS = 4
_SEGMENTS = 64


@dataclass(frozen=True)
class Camera:
    """A perspective camera that looks at the origin with z up.

    Attributes:
        position: ``x, y, z`` in world units.
        size_wh: Width and height of the image in pixels.
    """

    position: tuple[float, float, float]
    size_wh: tuple[int, int]

    def axes(self) -> np.ndarray:
        """Return the unit vectors to the right, down and forward in the image, as rows, ``(3, 3)`` float64."""
        forward = -np.array(self.position) / np.linalg.norm(self.position)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project world points ``(..., 3)`` to ``x, y`` in pixels and the depth along the viewing axis in world units."""
        width, height = self.size_wh
        right, down, depth = np.moveaxis((np.asarray(points) - self.position) @ self.axes().T, -1, 0)
        focal = FOCAL_LENGTH * width
        return np.stack([width / 2 + focal * right / depth, height / 2 + focal * down / depth, depth], axis=-1)


class Mesh(NamedTuple):
    """Triangles: ``vertices`` and ``normals`` ``(V, 3)`` float64, ``faces`` ``(F, 3)`` int32, counter-clockwise from outside."""

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray

    def placed(self, scale: float, angle: float, position: Any) -> "Mesh":
        """Return the mesh scaled, turned by ``angle`` radians about z, and moved to ``position``."""
        cos, sin = math.cos(angle), math.sin(angle)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        return Mesh(scale * self.vertices @ turn.T + np.asarray(position), self.normals @ turn.T, self.faces)


@cache
def unit_mesh(shape: str) -> Mesh:
    """Return the mesh of ``cube``, ``sphere`` or ``cylinder``: centred, half-extent 1 on every axis, edges rounded."""
    if shape == "cube":
        return _rounded_cube()
    if shape == "sphere":
        angles = np.linspace(0, np.pi, _SEGMENTS // 2 + 1)
        profile = np.stack([np.sin(angles), np.cos(angles)], axis=1)
        return _revolve(profile, profile)
    angles = np.linspace(0, np.pi / 2, _BEVEL_STEPS + 1)
    normals = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    rim = 1 - _BEVEL + _BEVEL * normals
    mirror = (1, -1)
    profile = np.concatenate([[(0, 1)], rim, rim[::-1] * mirror, [(0, -1)]])
    return _revolve(profile, np.concatenate([[(0, 1)], normals, normals[::-1] * mirror, [(0, -1)]]))


def place_objects(objects: list[dict[str, Any]]) -> list[Mesh]:
    """Return the mesh of every object of a scene in world units.

    ``rotation`` is taken as radians, as the generator of CLEVR does, although the release calls it degrees.
    """
    return [unit_mesh(one["shape"]).placed(SCALES[one["size"]], one["rotation"], one["3d_coords"]) for one in objects]


def merge(meshes: list[Mesh]) -> Mesh:
    """Return one mesh of several; their vertices and faces stay in order."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts[:-1], strict=True)]).astype(np.int32),
    )


def label_map(objects: list[dict[str, Any]], camera: Camera) -> np.ndarray:
    """Find the object that each pixel's centre shows.

    Args:
        objects: Objects of a scene, as in the scene file.
        camera: Where they are seen from.

    Returns:
        ``(H, W)`` uint16: 0 for the ground, ``1 + i`` for object ``i``.
    """
    width, height = camera.size_wh
    labels = np.zeros((height, width), np.uint16)
    nearness = np.zeros((height, width), np.float64)
    for i, mesh in enumerate(place_objects(objects)):
        _draw(camera.project(mesh.vertices), mesh.faces, i + 1, labels, nearness)
    return labels


def visible_pixels(labels: np.ndarray, count: int) -> np.ndarray:
    """Count the pixels of the ground and of each of ``count`` objects in a label map, ``(count + 1,)`` int64."""
    return np.bincount(labels.ravel(), minlength=count + 1).astype(np.int64)


def _revolve(profile: np.ndarray, normals: np.ndarray) -> Mesh:
    """Turn a profile of ``(radius, z)``, from the top down, about the z axis."""
    angles = np.linspace(0, 2 * np.pi, _SEGMENTS, endpoint=False)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def sweep(values: np.ndarray) -> np.ndarray:
        flat = values[:, None, :1] * around
        return np.concatenate([flat, np.broadcast_to(values[:, None, 1:], (*flat.shape[:2], 1))], axis=2).reshape(-1, 3)

    ring = np.arange(_SEGMENTS)
    following = (ring + 1) % _SEGMENTS
    starts = _SEGMENTS * np.arange(len(profile) - 1)[:, None]
    quads = np.stack([starts + ring, starts + _SEGMENTS + ring, starts + _SEGMENTS + following, starts + following], axis=-1)
    return Mesh(sweep(profile), sweep(normals), _triangles(quads))


def _rounded_cube() -> Mesh:
    """Push a grid on each face of a cube to the distance of the bevel from an inner cube."""
    steps = np.tan(np.linspace(0, np.pi / 4, _BEVEL_STEPS + 1))
    side = 1 - _BEVEL + _BEVEL * steps
    grid = np.concatenate([-side[::-1], side])
    n = len(grid)
    u, v = (axis.ravel() for axis in np.meshgrid(grid, grid, indexing="ij"))
    face = np.stack([u, v, np.ones(n * n)], axis=1)
    corner = np.arange(n - 1)[:, None] * n + np.arange(n - 1)
    quads = np.stack([corner, corner + n, corner + n + 1, corner + 1], axis=-1)
    turns = [np.roll(np.eye(3), k, axis=0) for k in range(3)]
    sides = [face @ turn for turn in turns] + [face * (1, -1, -1) @ turn for turn in turns]
    surface = np.concatenate(sides)
    inner = np.clip(surface, _BEVEL - 1, 1 - _BEVEL)
    normals = surface - inner
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    faces = np.concatenate([_triangles(quads) + i * n * n for i in range(6)])
    return Mesh(inner + _BEVEL * normals, normals, faces)


def _triangles(quads: np.ndarray) -> np.ndarray:
    quads = quads.reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


@njit(cache=True, nogil=True)
def _draw(points, faces, label, labels, nearness):
    """Draw projected triangles where their inverse depth, which is linear in the image, beats ``nearness``."""
    height, width = labels.shape
    for f in range(len(faces)):
        a, b, c = points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0 or min(a[2], b[2], c[2]) <= 0:
            continue
        x_first = max(0, math.ceil(min(a[0], b[0], c[0]) - 0.5))
        x_last = min(width - 1, math.floor(max(a[0], b[0], c[0]) - 0.5))
        y_first = max(0, math.ceil(min(a[1], b[1], c[1]) - 0.5))
        y_last = min(height - 1, math.floor(max(a[1], b[1], c[1]) - 0.5))
        for row in range(y_first, y_last + 1):
            y = row + 0.5
            for column in range(x_first, x_last + 1):
                x = column + 0.5
                for_a = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
                for_b = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
                for_c = 1 - for_a - for_b
                if for_a < 0 or for_b < 0 or for_c < 0:
                    continue
                inverse = for_a / a[2] + for_b / b[2] + for_c / c[2]
                if inverse > nearness[row, column]:
                    nearness[row, column] = inverse
                    labels[row, column] = label
