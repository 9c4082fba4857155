"""BSDS500 stored as ordinary files: ``images/SPLIT/ID.jpg``, ``labels/SPLIT/ID_k.png``, ``boundaries/SPLIT/ID_k.png``.

The data set (Arbelaez et al., TPAMI 2011) may be used for non-commercial research and education; its files are never part of
this package. ``k`` counts the annotators of an image from 0; there are 4 to 9 of them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from subobject.data.files import read_labels, read_rgb

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class BsdsImage:
    """One photograph of BSDS500 with the files of its annotators; pixels are read on request."""

    id: str
    image_path: Path
    label_paths: tuple[Path, ...]
    boundary_paths: tuple[Path, ...]

    def image(self) -> np.ndarray:
        """Return the photograph, ``(H, W, 3)`` uint8 RGB."""
        return read_rgb(self.image_path)

    def labels(self) -> np.ndarray:
        """Return the segment of each pixel for every annotator, ``(A, H, W)`` int32, values from 0."""
        return np.stack([read_labels(path) - 1 for path in self.label_paths])

    def layers(self) -> list[np.ndarray]:
        """Return the label map of every annotator as a stack of one, ``(1, H, W)`` int32 each."""
        return list(self.labels()[:, None])

    def boundaries(self) -> np.ndarray:
        """Return the thinned boundary map of every annotator, ``(A, H, W)`` bool."""
        return np.stack([read_labels(path) > 0 for path in self.boundary_paths])


def read_split(folder: str | Path, split: str) -> list[BsdsImage]:
    """List the images of one split in alphabetical order.

    Args:
        folder: The folder that holds ``images``, ``labels`` and ``boundaries``.
        split: ``train`` (200 images), ``val`` (100) or ``test`` (200).

    Raises:
        ValueError: If the split is unknown, or the folder does not hold it.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of BSDS500: use one of {', '.join(SPLITS)}")
    folder = Path(folder)
    images = sorted((folder / "images" / split).glob("*.jpg"))
    if not images:
        raise ValueError(f"{folder} does not hold the BSDS500 split {split!r}: expected images/{split}/ID.jpg inside it")
    return [
        BsdsImage(
            id=path.stem,
            image_path=path,
            label_paths=_annotators(folder / "labels" / split, path.stem),
            boundary_paths=_annotators(folder / "boundaries" / split, path.stem),
        )
        for path in images
    ]


def _annotators(folder: Path, image_id: str) -> tuple[Path, ...]:
    paths = sorted(folder.glob(f"{image_id}_*.png"), key=lambda path: int(path.stem.rpartition("_")[2]))
    if not paths:
        raise ValueError(f"{folder} holds no annotation of image {image_id}: expected {image_id}_0.png and so on")
    return tuple(paths)
