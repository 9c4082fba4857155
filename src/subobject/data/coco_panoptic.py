"""COCO panoptic (Kirillov et al., CVPR 2019) in its official layout.

``annotations/panoptic_train2017.json``, ``annotations/panoptic_train2017/ID.png`` and ``train2017/ID.jpg``; likewise ``val2017``.
The PNG codes the number of a segment by colour, ``R + 256 G + 256**2 B``; 0 is void.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from subobject.data.files import read_rgb

SPLITS = ("train2017", "val2017")


@dataclass(frozen=True)
class PanopticImage:
    """One photograph of COCO; pixels are read on request."""

    id: str
    image_path: Path
    label_path: Path
    segment_ids: tuple[int, ...]

    def image(self) -> np.ndarray:
        """Return the photograph, ``(H, W, 3)`` uint8 RGB."""
        return read_rgb(self.image_path)

    def layers(self) -> list[np.ndarray]:
        """Return the segments in the order of ``segments_info``, and -1 for void, as one stack ``(1, H, W)`` int32."""
        numbers = panoptic_ids(read_rgb(self.label_path))
        ids = np.array(self.segment_ids, dtype=np.int64)
        order = np.argsort(ids)
        at = np.searchsorted(ids, numbers, sorter=order).clip(max=len(ids) - 1)
        known = ids[order][at] == numbers
        return [np.where(known, order[at], -1).astype(np.int32)[None]]


def panoptic_ids(colours: np.ndarray) -> np.ndarray:
    """Decode colours ``(H, W, 3)`` uint8 RGB to the numbers of segments, ``(H, W)`` int32."""
    return colours.astype(np.int32) @ np.array([1, 256, 256**2], dtype=np.int32)


def read_split(folder: str | Path, split: str) -> list[PanopticImage]:
    """List the images of a split, ``train2017`` or ``val2017`` (or ``train``, ``val``), in the order of the JSON file.

    Raises:
        ValueError: If the split is unknown, or the folder does not hold it.
    """
    name = f"{split}2017" if split in ("train", "val") else split
    if name not in SPLITS:
        raise ValueError(f"unknown split {split!r} of COCO panoptic: use one of {', '.join(SPLITS)}")
    folder = Path(folder)
    path = folder / "annotations" / f"panoptic_{name}.json"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        files = {image["id"]: image["file_name"] for image in listed["images"]}
        return [
            PanopticImage(
                id=Path(one["file_name"]).stem,
                image_path=folder / name / files[one["image_id"]],
                label_path=path.with_suffix("") / one["file_name"],
                segment_ids=tuple(info["id"] for info in one["segments_info"]),
            )
            for one in listed["annotations"]
            if one["segments_info"]
        ]
    except FileNotFoundError:
        message = f"expected annotations/panoptic_{name}.json inside it"
        raise ValueError(f"{folder} does not hold the COCO panoptic split {split!r}: {message}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a COCO panoptic file: {type(error).__name__} {error}") from error
