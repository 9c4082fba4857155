"""ADE20K in the layout of the Scene Parsing Challenge 2016 (Zhou et al., CVPR 2017).

``images/{training,validation}/NAME.jpg`` and ``annotations/{training,validation}/NAME.png``: 8 bits, 0 where nothing was
labelled, else one of 150 classes. The maps are semantic: two objects of one class that touch are one segment.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from subobject.data.files import list_pictures, read_labels, read_rgb

SPLITS = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class AdeImage:
    """One photograph of ADE20K; pixels are read on request."""

    id: str
    image_path: Path
    label_path: Path

    def image(self) -> np.ndarray:
        """Return the photograph, ``(H, W, 3)`` uint8 RGB."""
        return read_rgb(self.image_path)

    def layers(self) -> list[np.ndarray]:
        """Return the classes from 0, and -1 where there is none, as one stack ``(1, H, W)`` int32."""
        return [read_labels(self.label_path)[None] - 1]


def read_split(folder: str | Path, split: str) -> list[AdeImage]:
    """List the images of a split, ``train`` (20,210 images) or ``val`` (2,000), in alphabetical order.

    Raises:
        ValueError: If the split is unknown, or the folder does not hold it.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of ADE20K: use one of {', '.join(SPLITS)}")
    folder, part = Path(folder), SPLITS[split]
    pictures = list_pictures(folder / "images" / part)
    if not pictures:
        raise ValueError(f"{folder} does not hold the ADE20K split {split!r}: expected images/{part}/NAME.jpg inside it")
    return [AdeImage(path.stem, path, folder / "annotations" / part / f"{path.stem}.png") for path in pictures]
