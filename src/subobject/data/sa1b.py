"""SA-1B (Kirillov et al., *Segment Anything*, ICCV 2023), read from its archives without unpacking them.

The data set is a folder of archives ``sa_000000.tar`` and so on, each with about 11,000 pairs ``sa_1.jpg`` and ``sa_1.json``. The
JSON holds overlapping masks as COCO run lengths. Archives are not compressed: the headers of one are read in a moment, and its
members then from where they lie. What is broken is reported and replaced by its neighbour, so that the rest keeps its place.
"""

import json
import logging
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from subobject.data.files import read_rgb
from subobject.data.layers import stack_masks
from subobject.segments.mask_formats import decode_mask

logger = logging.getLogger(__name__)
_BLOCK = 512


class Member(NamedTuple):
    """A file in an archive: where it starts and how long it is, in bytes."""

    offset: int
    size: int


class Sample(NamedTuple):
    """A picture and its annotation in an archive."""

    name: str
    picture: Member
    annotation: Member


@dataclass(frozen=True, eq=False)
class Sa1bImage:
    """One photograph of SA-1B with its masks, decoded."""

    id: str
    pixels: np.ndarray
    stack: np.ndarray

    def image(self) -> np.ndarray:
        """Return the photograph, ``(H, W, 3)`` uint8 RGB."""
        return self.pixels

    def layers(self) -> list[np.ndarray]:
        """Return the masks as one stack of layers, ``(L, H, W)`` int32."""
        return [self.stack]


class Sa1bArchives:
    """A stream of the photographs in archives; see ``data.ImageStream``.

    Archives are shuffled in each round, and photographs within their archive.
    """

    def __init__(self, archives: list[Path]):
        self.archives = archives
        self._reported: set[str] = set()

    def images(
        self, seed: int, *, start: int = 0, group: int = 1, member: int = 0, members: int = 1
    ) -> Iterator[tuple[int, Sa1bImage]]:
        """Yield this reader's share of the endless sequence, with positions; see ``data.ImageStream.images``.

        Raises:
            ValueError: If a whole round gave no photograph.
        """
        position = 0
        for epoch in count():
            readable = False
            for which in np.random.default_rng((seed, epoch)).permutation(len(self.archives)):
                samples = self._index(self.archives[which])
                end = position + len(samples)
                order = np.random.default_rng((seed, epoch, which)).permutation(len(samples))
                ours = [at for at in range(max(position, start), end) if at // group % members == member]
                readable |= bool(samples) and not ours
                if ours:
                    with self.archives[which].open("rb") as stream:
                        for at in ours:
                            image = self._first_readable(stream, samples, np.roll(order, position - at))
                            if image is None:
                                break
                            readable = True
                            yield at, image
                position = end
            if not readable:
                raise ValueError(f"no photograph can be read in {self.archives[0].parent}: download the archives of SA-1B again")

    def _first_readable(self, stream: BinaryIO, samples: list[Sample], order: np.ndarray) -> Sa1bImage | None:
        for i in order:
            try:
                return read_sample(stream, samples[i])
            except ValueError as error:
                self._report(f"{stream.name}: {error}: the next photograph takes its place")
        return None

    def _index(self, archive: Path) -> list[Sample]:
        try:
            samples, damage = index_archive(archive)
        except OSError as error:
            samples, damage = [], f"cannot be opened ({error.strerror or error})"
        if damage:
            self._report(f"{archive} {damage}: {len(samples)} of its photographs are used")
        return samples

    def _report(self, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            logger.warning(message)


def open_archives(folder: str | Path, split: str) -> Sa1bArchives:
    """Find the archives of a folder.

    Args:
        folder: Holds ``*.tar``.
        split: ``train``; SA-1B has no other.

    Raises:
        ValueError: If there is no archive, or another split is asked for.
    """
    if split != "train":
        raise ValueError(f"unknown split {split!r} of SA-1B: it has only 'train'")
    archives = sorted(Path(folder).glob("*.tar"))
    if not archives:
        raise ValueError(f"{folder} holds no archive of SA-1B: expected sa_000000.tar and so on inside it")
    return Sa1bArchives(archives)


def index_archive(archive: Path) -> tuple[list[Sample], str | None]:
    """List the pairs of a tar file by its headers alone.

    Returns:
        Pairs in the order of the archive; and what is wrong with it, or None. Pairs before the damage are listed.
    """
    found: dict[str, dict[str, Member]] = {}
    damage = None
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                name = Path(member.name)
                if member.isfile() and name.suffix in (".jpg", ".json"):
                    found.setdefault(name.stem, {})[name.suffix] = Member(member.offset_data, member.size)
            end = tar.offset
        # tarfile takes a damaged header for the end; the true end is a block of zeros.
        with archive.open("rb") as stream:
            stream.seek(end)
            block = stream.read(_BLOCK)
        if any(block):
            damage = f"is damaged at byte {end}"
    except tarfile.TarError as error:
        damage = f"is damaged ({error})"
    pairs = {name: parts for name, parts in found.items() if len(parts) == 2}
    if len(pairs) < len(found) and damage is None:
        lonely = next(name for name in found if name not in pairs)
        damage = f"lacks the partner of {len(found) - len(pairs)} files, such as {lonely}"
    return [Sample(name, parts[".jpg"], parts[".json"]) for name, parts in pairs.items()], damage


def read_sample(stream: BinaryIO, sample: Sample) -> Sa1bImage:
    """Read and decode one pair from an open archive.

    Raises:
        ValueError: If either file is damaged or they do not fit; the message names the photograph.
    """
    pixels = read_rgb(_bytes(stream, sample.picture), f"{sample.name}.jpg")
    try:
        annotations = json.loads(_bytes(stream, sample.annotation))["annotations"]
        masks = [decode_mask(one["segmentation"], pixels.shape[:2]) for one in annotations]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{sample.name}.json cannot be read: {type(error).__name__} {error}") from error
    return Sa1bImage(sample.name, pixels, stack_masks(masks, pixels.shape[:2]))


def _bytes(stream: BinaryIO, member: Member) -> bytes:
    stream.seek(member.offset)
    return stream.read(member.size)
