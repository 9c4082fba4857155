"""CLEVR in the layout of its release: ``images/SPLIT/CLEVR_SPLIT_000000.png`` and ``scenes/CLEVR_SPLIT_scenes.json``.

CLEVR v1.0 (Johnson et al., CVPR 2017) is licensed CC BY 4.0; its files are never part of this package. The scenes that
``subobject data clevr-render`` draws have the same layout, and label maps beside the images, in ``masks/SPLIT``, which the
release lacks. CLEVR-CoGenT has other splits (``trainA``, ``valB``, ...) and the same layout.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from subobject.images import read_image

SHAPES = ("cube", "sphere", "cylinder")
SIZES = ("large", "small")
MATERIALS = ("rubber", "metal")
COLOURS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")


@dataclass(frozen=True)
class ClevrObject:
    """One object of a scene.

    Attributes:
        size: One of ``SIZES``.
        colour: One of ``COLOURS``.
        material: One of ``MATERIALS``.
        shape: One of ``SHAPES``.
        pixel: Centre in the image: x to the right and y down, in pixels.
    """

    size: str
    colour: str
    material: str
    shape: str
    pixel: tuple[float, float]


@dataclass(frozen=True)
class ClevrImage:
    """One image of CLEVR with its objects; pixels are read on request.

    Attributes:
        index: Index in the split.
        image_path: The picture.
        mask_path: Its label map, or None where there is none.
        objects: Objects in the order of the scene file; object ``i`` has label ``1 + i`` in the label map.
        mirrored: Whether picture and label map are turned left to right when they are read.
    """

    index: int
    image_path: Path
    mask_path: Path | None
    objects: tuple[ClevrObject, ...]
    mirrored: bool = False

    @property
    def id(self) -> str:
        """Name of the image within its data set: that of its file without the suffix."""
        return self.image_path.stem

    @property
    def name(self) -> str:
        """Name among the tokens of a store: that of its file, or if mirrored one with ``.mirrored`` before the suffix."""
        return f"{self.id}.mirrored{self.image_path.suffix}" if self.mirrored else self.image_path.name

    @property
    def left_to_right(self) -> tuple[ClevrObject, ...]:
        """The objects by the x of their centre in the image; equal ones stay in the order of the file."""
        return tuple(sorted(self.objects, key=lambda one: one.pixel[0]))

    def image(self) -> np.ndarray:
        """Return the picture, ``(H, W, 3)`` uint8 RGB; the release's alpha channel, which is opaque, is dropped."""
        pixels = read_image(self.image_path)
        return np.ascontiguousarray(pixels[:, ::-1]) if self.mirrored else pixels

    def mask(self) -> np.ndarray:
        """Return the label map, ``(H, W)`` int32: 0 for the ground, ``1 + i`` for object ``i``.

        Raises:
            ValueError: If there is none, as in the official release.
        """
        if self.mask_path is None:
            raise ValueError(
                f"{self.image_path} has no label map: the release of CLEVR has none; `subobject data clevr-render` writes them"
            )
        with Image.open(self.mask_path) as image:
            labels = np.asarray(image).astype(np.int32)
        return np.ascontiguousarray(labels[:, ::-1]) if self.mirrored else labels

    def mirror(self) -> "ClevrImage":
        """Return the same scene seen in a mirror: another picture to learn from, with the objects in the opposite order."""
        with Image.open(self.image_path) as image:
            last = image.width - 1
        objects = tuple(replace(one, pixel=(last - one.pixel[0], one.pixel[1])) for one in self.objects)
        return replace(self, objects=objects, mirrored=not self.mirrored)

    def layers(self) -> list[np.ndarray]:
        """Return the label map as the one layer of its one annotator, ``(1, H, W)`` int32; see ``data.AnnotatedImage``."""
        return [self.mask()[None]]


def image_name(split: str, index: int) -> str:
    """Return the file name of an image, the same for its label map."""
    return f"CLEVR_{split}_{index:06d}.png"


def scenes_path(folder: Path, split: str) -> Path:
    """Return the scene file of a split."""
    return folder / "scenes" / f"CLEVR_{split}_scenes.json"


def read_clevr(folder: str | Path, split: str) -> list[ClevrImage]:
    """List the images of a split in the order of their index.

    Args:
        folder: Folder with ``images`` and ``scenes``.
        split: ``train``, ``val`` or the name of another split that has scenes.

    Raises:
        ValueError: If the scene file is missing or damaged, or an image is missing; the sentence says which.
    """
    folder = Path(folder)
    path = scenes_path(folder, split)
    try:
        scenes = json.loads(path.read_text(encoding="utf-8"))["scenes"]
    except FileNotFoundError:
        raise ValueError(f"{folder} does not hold the CLEVR split {split!r}: expected scenes/{path.name} inside it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a CLEVR scene file, or it is damaged ({error})") from error
    images = [_read_scene(folder, split, scene, path) for scene in scenes]
    if not images:
        raise ValueError(f"{path} holds no scene")
    return sorted(images, key=lambda image: image.index)


def _read_scene(folder: Path, split: str, scene: dict[str, Any], path: Path) -> ClevrImage:
    try:
        index, name = int(scene["image_index"]), str(scene["image_filename"])
        objects = tuple(_read_object(one) for one in scene["objects"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} has a scene that is not in CLEVR's format ({type(error).__name__}: {error})") from error
    image_path = folder / "images" / split / name
    if not image_path.is_file():
        raise ValueError(f"{path} names the image {name}, but {image_path} does not exist")
    mask_path = folder / "masks" / split / name
    return ClevrImage(index, image_path, mask_path if mask_path.is_file() else None, objects)


def _read_object(values: dict[str, Any]) -> ClevrObject:
    for name, known in {"size": SIZES, "color": COLOURS, "material": MATERIALS, "shape": SHAPES}.items():
        if values[name] not in known:
            raise ValueError(f"unknown {name} {values[name]!r}: expected {', '.join(known)}")
    x, y = values["pixel_coords"][:2]
    return ClevrObject(values["size"], values["color"], values["material"], values["shape"], pixel=(float(x), float(y)))
