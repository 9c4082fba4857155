"""Readers of data sets, and the targets that networks are trained on.

``READERS`` is the table of annotated image sets; a new one is one file and one line. Importing this package loads no member.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from subobject.registry import load_member, lookup


class AnnotatedImage(Protocol):
    """One image and the segments drawn on it; pixels are read on request."""

    @property
    def id(self) -> str:
        """Name of the image within its data set."""
        ...

    def image(self) -> np.ndarray:
        """Return the picture, ``(H, W, 3)`` uint8 RGB. A ``ValueError`` names the file that cannot be read."""
        ...

    def layers(self) -> list[np.ndarray]:
        """Return the segments of each annotator, at least one.

        Each is a stack of label maps ``(L, H, W)`` int32: the segment of each pixel from 0, or -1 where the layer holds none.
        Segments of one layer do not overlap. A label map has one layer; overlapping masks have as many as they need.
        """
        ...


class ImageStream(Protocol):
    """A data set too large to list: its images come in an order that a seed decides, again and again, each round another."""

    def images(
        self, seed: int, *, start: int = 0, group: int = 1, member: int = 0, members: int = 1
    ) -> Iterator[tuple[int, AnnotatedImage]]:
        """Yield this reader's share of the endless sequence of images.

        The sequence is cut into groups (micro-batches), which ``members`` readers take in turn; so any number of readers
        together give the same sequence.

        Args:
            seed: Decides the order.
            start: Positions to leave out at the beginning; a run resumes without reading them.
            group: Positions a group, at least 1.
            member: Which reader this is, from 0.
            members: How many readers there are.

        Yields:
            Position in the sequence, and the image.
        """
        ...


READERS: dict[str, str] = {
    "bsds500": "subobject.data.bsds500:read_split",
    "sa1b": "subobject.data.sa1b:open_archives",
    "ade20k": "subobject.data.ade20k:read_split",
    "coco-panoptic": "subobject.data.coco_panoptic:read_split",
    "clevr": "subobject.data.clevr:read_clevr",
    "folder": "subobject.data.folder:read_split",
}
"""Name -> ``module:function``, called with the folder of the data set and the name of a split."""


def read_images(name: str, folder: str | Path, splits: Sequence[str]) -> Sequence[AnnotatedImage] | ImageStream:
    """Open an annotated image set.

    Args:
        name: A key of ``READERS``.
        folder: Its folder, in the official layout; see the module of the reader.
        splits: One or more, whose images follow each other. A stream has one.

    Raises:
        ValueError: If the name or a split is unknown, or the folder does not hold it.
    """
    reader = load_member(lookup(READERS, name, "data set"))
    if not splits:
        raise ValueError(f"no split of {name} is named: give at least one, for example splits: [train]")
    parts = [reader(folder, split) for split in splits]
    if all(isinstance(part, Sequence) for part in parts):
        return [image for part in parts for image in part]
    if len(parts) > 1:
        raise ValueError(f"{name} is read as a stream: give one split, not {', '.join(splits)}")
    return parts[0]
