"""Label maps and merge trees on disk, as plain arrays: 16-bit PNG, COCO JSON with run lengths, npz.

Every format holds the label map and the tree exactly. ``structures.Segmentation`` adds the checks.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from subobject import geometry
from subobject.files import atomic_path

_TREE_KEY = "subobject-tree"


class LabelArrays(NamedTuple):
    """``labels`` ``(H, W)`` int32, ``parents`` ``(2 N - 1,)`` int32 and ``strengths`` ``(2 N - 1,)`` float32."""

    labels: np.ndarray
    parents: np.ndarray
    strengths: np.ndarray


def coco_annotations(labels: np.ndarray, boxes: np.ndarray, areas: np.ndarray) -> list[dict[str, Any]]:
    """Return one COCO annotation a segment: ``id`` from 1, ``segmentation`` (RLE), ``bbox`` (x, y, w, h in pixels), ``area``."""
    height, width = labels.shape
    return [
        {
            "id": i + 1,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 1,
            "segmentation": {"size": [height, width], "counts": counts},
            "bbox": [int(x0), int(y0), int(x1 - x0), int(y1 - y0)],
            "area": int(area),
        }
        for i, (counts, (x0, y0, x1, y1), area) in enumerate(
            zip(geometry.encode_rle(labels, len(areas)), boxes, areas, strict=True)
        )
    ]


def write(path: str | Path, arrays: LabelArrays, boxes: np.ndarray, areas: np.ndarray) -> None:
    """Write a segmentation in the format that the suffix names: ``.png``, ``.json`` (COCO) or ``.npz``.

    Raises:
        ValueError: If the suffix is unknown, or a PNG would need more than 65,536 labels.
    """
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise ValueError(f"cannot write {path.name}: use one of the suffixes {', '.join(_WRITERS)}")
    with atomic_path(path) as partial:
        _WRITERS[path.suffix](partial, arrays, boxes, areas)


def read(path: str | Path) -> LabelArrays:
    """Read a file that ``write`` wrote.

    Raises:
        ValueError: If the suffix is unknown, or the file is damaged or was not written by ``write``.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise ValueError(f"cannot read {path.name}: expected one of the suffixes {', '.join(_READERS)}")
    try:
        return _READERS[path.suffix](path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    except (KeyError, OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is not a segmentation written by subobject, or it is damaged ({error})") from error


def _write_png(path: Path, arrays: LabelArrays, boxes: np.ndarray, areas: np.ndarray) -> None:
    from PIL import Image

    from subobject.images import own_png_info

    if len(areas) > 2**16:
        raise ValueError(f"a 16-bit PNG holds 65,536 segments, but there are {len(areas)}: cut to fewer, or use npz")
    info = own_png_info()
    tree = {"parents": arrays.parents.tolist(), "strengths": arrays.strengths.astype(float).tolist()}
    info.add_text(_TREE_KEY, json.dumps(tree), zip=True)
    Image.fromarray(arrays.labels.astype(np.uint16)).save(path, pnginfo=info)


def _read_png(path: Path) -> LabelArrays:
    from PIL import Image

    with Image.open(path) as image:
        labels = np.asarray(image).astype(np.int32)
        tree = json.loads(image.info[_TREE_KEY])
    return LabelArrays(labels, np.array(tree["parents"], np.int32), np.array(tree["strengths"], np.float32))


def _write_coco(path: Path, arrays: LabelArrays, boxes: np.ndarray, areas: np.ndarray) -> None:
    height, width = arrays.labels.shape
    document = {
        "images": [{"id": 1, "height": height, "width": width}],
        "categories": [{"id": 1, "name": "subobject"}],
        "annotations": coco_annotations(arrays.labels, boxes, areas),
        "tree_parents": arrays.parents.tolist(),
        "tree_strengths": arrays.strengths.astype(float).tolist(),
    }
    path.write_text(json.dumps(document))


def _read_coco(path: Path) -> LabelArrays:
    document = json.loads(path.read_text())
    image = document["images"][0]
    size = image["height"], image["width"]
    labels = np.full(size, -1, dtype=np.int32)
    for i, annotation in enumerate(document["annotations"]):
        labels[geometry.decode_rle(annotation["segmentation"]["counts"], size)] = i
    return LabelArrays(labels, np.array(document["tree_parents"], np.int32), np.array(document["tree_strengths"], np.float32))


def _write_npz(path: Path, arrays: LabelArrays, boxes: np.ndarray, areas: np.ndarray) -> None:
    np.savez_compressed(
        path,
        labels=arrays.labels,
        boxes=boxes,
        areas=areas,
        tree_parents=arrays.parents,
        tree_strengths=arrays.strengths,
    )


def _read_npz(path: Path) -> LabelArrays:
    with np.load(path, allow_pickle=False) as file:
        return LabelArrays(file["labels"], file["tree_parents"], file["tree_strengths"])


_WRITERS = {".png": _write_png, ".json": _write_coco, ".npz": _write_npz}
_READERS = {".png": _read_png, ".json": _read_coco, ".npz": _read_npz}
