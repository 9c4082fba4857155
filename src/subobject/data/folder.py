"""A plain folder of pictures and label maps, for data of one's own.

``images/NAME.jpg`` (or another format) and ``labels/NAME.png``, or ``labels/NAME_0.png``, ``NAME_1.png`` and so on where several
annotators drew; with a folder ``images/SPLIT`` and ``labels/SPLIT`` between where there are splits. A label map has one channel
of 8 or 16 bits; each value is a segment, 0 too.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from subobject.data.files import list_pictures, read_labels, read_rgb


@dataclass(frozen=True)
class FolderImage:
    """One picture with the label maps of its annotators; pixels are read on request."""

    id: str
    image_path: Path
    label_paths: tuple[Path, ...]

    def image(self) -> np.ndarray:
        """Return the picture, ``(H, W, 3)`` uint8 RGB."""
        return read_rgb(self.image_path)

    def layers(self) -> list[np.ndarray]:
        """Return the label map of every annotator as a stack of one, ``(1, H, W)`` int32 each."""
        return [read_labels(path)[None] for path in self.label_paths]


def read_split(folder: str | Path, split: str) -> list[FolderImage]:
    """List the pictures of ``images/SPLIT``, or of ``images`` where there are no splits, in alphabetical order.

    Raises:
        ValueError: If there is no picture, or one has no label map.
    """
    folder = Path(folder)
    part = split if (folder / "images" / split).is_dir() else ""
    pictures = list_pictures(folder / "images" / part)
    if not pictures:
        raise ValueError(f"{folder} holds no pictures: expected images/NAME.jpg or images/{split}/NAME.jpg inside it")
    annotators: dict[str, list[tuple[int, Path]]] = {}
    for path in (folder / "labels" / part).glob("*.png"):
        stem, _, number = path.stem.rpartition("_")
        if stem and number.isdigit():
            annotators.setdefault(stem, []).append((int(number), path))
    images = []
    for path in pictures:
        plain = folder / "labels" / part / f"{path.stem}.png"
        labels = (plain,) if plain.is_file() else tuple(label for _, label in sorted(annotators.get(path.stem, [])))
        if not labels:
            raise ValueError(f"{path} has no label map: expected {plain} or {plain.stem}_0.png beside it")
        images.append(FolderImage(path.stem, path, labels))
    return images
