"""Pictures of CLEVR scenes, drawn with Mitsuba: three soft lamps, a low sun, a gray backdrop, rubber and metal.

A stand-in for the Blender files of CLEVR (Cycles), with their measured camera, lamps, colours and backdrop, and materials that
look alike: rubber is a rough plastic, metal a blend of a rough and a nearly perfect tinted mirror. Colours are used as linear
values and the picture is encoded as sRGB, as there. Where Intel's denoiser is installed, it takes the grain out, since few
samples are affordable on a processor.
"""

import logging
import math
import subprocess
import sys
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from subobject.data.clevr_geometry import FOCAL_LENGTH, Mesh, merge, place_objects, unit_mesh

logger = logging.getLogger(__name__)

LINEAR_COLOURS = {
    name: tuple(value / 255 for value in rgb)
    for name, rgb in {
        "gray": (87, 87, 87),
        "red": (173, 35, 35),
        "blue": (42, 75, 215),
        "green": (29, 105, 20),
        "brown": (129, 74, 25),
        "purple": (129, 38, 192),
        "cyan": (41, 208, 208),
        "yellow": (255, 238, 51),
    }.items()
}


class _Lamp(NamedTuple):
    """A square area lamp: ``side`` in world units, ``power`` in watts, linear ``colour``.

    Its radiance is ``power / (4 x area)``, as in Blender 2.78.
    """

    side: float
    power: float
    colour: tuple[float, float, float]


_LAMPS = {
    "key": _Lamp(0.5, 100.0, (1.0, 0.932, 0.817)),
    "fill": _Lamp(0.5, 30.0, (0.762, 0.818, 1.0)),
    "back": _Lamp(1.0, 50.0, (1.0, 1.0, 1.0)),
}
_SUN_DIRECTION = (0.4146, -0.1946, 0.8890)
_SUN_IRRADIANCE = 0.45
_SUN_RADIUS = 0.1
"""Radius of the sun, as a disk, over its distance: the shadow's edge is soft."""
_SUN_DISTANCE = 60.0
# Height of the backdrop over the distance behind the origin; the wall stands askew to the camera.
_BACKDROP = (
    (-20, 0),
    (1, 0),
    (3, 0.02),
    (5, 0.05),
    (7.5, 0.1),
    (9.5, 0.25),
    (11.5, 0.5),
    (13.5, 1),
    (15, 2.4),
    (16, 3.8),
    (17, 6),
    (18.5, 23),
)
_BACKDROP_SLANT = 0.35
_BEHIND, _RIGHT = np.array([-0.75449, 0.65631]), np.array([0.65631, 0.75449])
_COLOUR_ATTRIBUTE = "vertex_colour"
_COLOUR = {"type": "mesh_attribute", "name": _COLOUR_ATTRIBUTE}
_MIRRORS = {
    name: {"type": "roughconductor", "material": "none", "alpha": alpha, "specular_reflectance": _COLOUR}
    for name, alpha in (("smooth", 0.02), ("rough", 0.2))
}
_MATERIALS = {
    "rubber": {"type": "principled", "base_color": _COLOUR, "roughness": 0.6, "specular": 0.3},
    "metal": {"type": "blendbsdf", "weight": 0.6, **_MIRRORS},
}
_MAX_DEPTH = 4
"""Longest path of light: camera, mirror, mirror, ground, lamp."""
VARIANTS = ("llvm_ad_rgb", "scalar_rgb")
_PROBE = """
import mitsuba
mitsuba.set_variant({variant!r})
parts = {{"integrator": "path", "sensor": "perspective", "shape": "sphere", "emitter": "constant"}}
scene = mitsuba.load_dict({{"type": "scene", **{{name: {{"type": kind}} for name, kind in parts.items()}}}})
mitsuba.render(scene, spp=1).numpy()
"""


@cache
def choose_variant() -> str:
    """Return the fastest variant of Mitsuba that works here: LLVM, else scalar.

    It is tried in a process of its own, since an unsuitable LLVM library aborts the process.

    Raises:
        ModuleNotFoundError: If Mitsuba is not installed; the sentence says what to do.
    """
    _import_mitsuba()
    for variant in VARIANTS[:-1]:
        done = subprocess.run([sys.executable, "-c", _PROBE.format(variant=variant)], capture_output=True)
        if done.returncode == 0:
            return variant
        logger.info("mitsuba's %s does not work here: %s", variant, done.stderr.decode(errors="replace").strip()[-500:])
    return VARIANTS[-1]


class Renderer:
    """Draws scenes.

    Args:
        variant: Variant of Mitsuba; see ``choose_variant``. It is set for the whole process.
        size_wh: Width and height of the pictures.
        samples: Paths a pixel.
        denoise: Whether to take out the grain.

    Raises:
        ModuleNotFoundError: If Mitsuba, or the denoiser that was asked for, is not installed; the sentence says what to do.
    """

    def __init__(self, variant: str, size_wh: tuple[int, int], samples: int, *, denoise: bool):
        self._mitsuba = _import_mitsuba()
        self._denoise = find_denoiser() if denoise else None
        self._mitsuba.set_variant(variant)
        import drjit

        drjit.set_thread_count(1)
        self._size_wh = size_wh
        self._samples = samples

    def __call__(self, scene: dict[str, Any], seed: int) -> np.ndarray:
        """Draw a scene of ``clevr_scenes.sample_scene``.

        Args:
            scene: The scene, with its camera and lamps.
            seed: Seed of the paths, below 2**32.

        Returns:
            ``(H, W, 3)`` uint8 RGB.
        """
        mi = self._mitsuba
        loaded = mi.load_dict(self._describe(scene))
        radiance = np.array(mi.render(loaded, spp=self._samples, seed=seed), dtype=np.float32)
        if self._denoise is not None:
            radiance = self._denoise(np.ascontiguousarray(radiance), hdr=True)
        return encode_srgb(radiance)

    def _describe(self, scene: dict[str, Any]) -> dict[str, Any]:
        """Describe a scene to Mitsuba.

        What differs between scenes is in arrays, the lamps too: numbers become part of the compiled kernel, and one mesh more
        another kernel, so that each scene would be compiled anew.
        """
        width, height = self._size_wh
        facing = self._mitsuba.ScalarTransform4f().look_at
        sun = [_SUN_DISTANCE * axis for axis in _SUN_DIRECTION]
        parts: dict[str, Any] = {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": _MAX_DEPTH, "hide_emitters": True},
            "camera": {
                "type": "perspective",
                "fov": math.degrees(2 * math.atan(0.5 / FOCAL_LENGTH)),
                "fov_axis": "x",
                "to_world": facing(scene["camera"], [0, 0, 0], [0, 0, 1]),
                "film": {
                    "type": "hdrfilm",
                    "width": width,
                    "height": height,
                    "pixel_format": "rgb",
                    "rfilter": {"type": "box"},
                },
                "sampler": {"type": "independent"},
            },
            "ground": self._mesh(_backdrop(), bsdf={"type": "diffuse", "reflectance": _rgb((0.8, 0.8, 0.8))}),
            "sun": {
                "type": "disk",
                "to_world": facing(sun, [0, 0, 0], [0, 0, 1])
                @ self._mitsuba.ScalarTransform4f().scale(_SUN_DISTANCE * _SUN_RADIUS),
                "emitter": {"type": "area", "radiance": _rgb([_SUN_IRRADIANCE / (math.pi * _SUN_RADIUS**2)] * 3)},
            },
        }
        for name, lamp in _LAMPS.items():
            radiance = _rgb([lamp.power / (4 * lamp.side**2) * one for one in lamp.colour])
            square = _facing_square(scene["lamps"][name], lamp.side)
            parts[name] = self._mesh(square, emitter={"type": "area", "radiance": radiance})
        for name, material in _MATERIALS.items():
            objects = [one for one in scene["objects"] if one["material"] == name]
            if objects:
                parts[name] = self._mesh(merge(place_objects(objects)), _vertex_colours(objects), bsdf=material)
        return parts

    def _mesh(self, mesh: Mesh, colours: np.ndarray | None = None, **parts: dict[str, Any]) -> Any:
        """Build a mesh with its material or its light, and with colours ``(V, 3)`` of its vertices."""
        mi = self._mitsuba
        properties = mi.Properties()
        for name, part in parts.items():
            properties[name] = mi.load_dict(part)
        built = mi.Mesh("mesh", len(mesh.vertices), len(mesh.faces), has_vertex_normals=True, props=properties)
        if colours is not None:
            built.add_attribute(_COLOUR_ATTRIBUTE, 3, colours.ravel().astype(np.float32))
        values = mi.traverse(built)
        values["vertex_positions"] = mesh.vertices.ravel().astype(np.float32)
        values["vertex_normals"] = mesh.normals.ravel().astype(np.float32)
        values["faces"] = mesh.faces.ravel().astype(np.uint32)
        values.update()
        return built


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Encode linear values, clipped to [0, 1], as 8-bit sRGB (IEC 61966-2-1); returns uint8 of the same shape."""
    clipped = np.clip(np.nan_to_num(linear), 0, 1)
    encoded = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


def find_denoiser() -> Any:
    """Return the function of Intel's denoiser.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    try:
        from pyoidn import denoise
    except ImportError as error:
        raise ModuleNotFoundError(f'denoising needs {error.name}: pip install "subobject[clevr]"') from None
    return denoise


def _import_mitsuba() -> Any:
    try:
        import mitsuba
    except ImportError as error:
        raise ModuleNotFoundError(f'drawing scenes needs {error.name}: pip install "subobject[clevr]"') from None
    return mitsuba


def _facing_square(position: Any, side: float) -> Mesh:
    """Return a square of this side at ``position`` that faces the origin."""
    normal = -np.array(position) / np.linalg.norm(position)
    right = np.cross(normal, (0.0, 0.0, 1.0))
    right *= side / 2 / np.linalg.norm(right)
    up = np.cross(right, normal)
    corners = np.array([-right - up, -right + up, right + up, right - up]) + position
    return Mesh(corners, np.tile(normal, (4, 1)), np.array([[0, 2, 1], [0, 3, 2]], np.int32))


def _vertex_colours(objects: list[dict[str, Any]]) -> np.ndarray:
    return np.concatenate([np.tile(LINEAR_COLOURS[one["color"]], (len(unit_mesh(one["shape"]).vertices), 1)) for one in objects])


def _rgb(values: Any) -> dict[str, Any]:
    return {"type": "rgb", "value": list(values)}


@cache
def _backdrop() -> Mesh:
    """Return the studio backdrop: flat ground that curves up into a wall behind the objects."""
    distances, heights = np.array(_BACKDROP, np.float64).T
    slopes = np.gradient(heights, distances)
    wall = _BEHIND - _BACKDROP_SLANT * _RIGHT
    wall /= np.linalg.norm(wall)
    along = np.array([-wall[1], wall[0]])
    # A point at distance d behind the origin on the camera's axis lies at d * (wall . behind) across the wall's lines.
    across = distances * (wall @ _BEHIND)
    rows = across[:, None, None] * wall + np.array([-45.0, 45.0])[None, :, None] * along
    vertices = np.concatenate([rows, np.broadcast_to(heights[:, None, None], (len(heights), 2, 1))], axis=2)
    normals = np.stack([-slopes * wall[0], -slopes * wall[1], np.ones_like(slopes)], axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    first = 2 * np.arange(len(heights) - 1)
    faces = np.concatenate([np.stack([first, first + 2, first + 1], 1), np.stack([first + 1, first + 2, first + 3], 1)])
    return Mesh(vertices.reshape(-1, 3), np.repeat(normals, 2, axis=0), faces.astype(np.int32))
