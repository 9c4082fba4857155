"""What is done to each of many images: cut it, or tokenize it. Jobs go to other processes, which load networks of their own."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from subobject.images import FoundImage, output_stems, write_png
from subobject.segments.pipeline import ImageSegmenter
from subobject.structures import Segmentation
from subobject.timing import Clock
from subobject.tokens.store import TokenRow
from subobject.tokens.tokenizer import SubobjectTokenizer
from subobject.viewer.overlay import overlay

OVERLAY_SUFFIX = ".overlay.png"
DECODED_SUFFIX = ".decoded.png"


@dataclass(frozen=True)
class Result:
    """What a job made of an image.

    Attributes:
        summary: ``width``, ``height``, number of ``tokens`` or ``segments``, and ``seconds`` by stage.
        row: The row for a token store; None if the job has written its result.
    """

    summary: dict[str, Any]
    row: TokenRow | None = None


class Job(Protocol):
    """Work on one image; can be pickled."""

    def __call__(self, image: FoundImage, pixels: np.ndarray, clock: Clock) -> Result:
        """Work on the pixels ``(H, W, 3)`` uint8 of an image; ``clock`` holds the seconds of ``read``."""
        ...


@dataclass(frozen=True)
class Outputs:
    """Names of the files that are written for images.

    Attributes:
        folder: Output folder.
        stems: Path below the folder, without suffix, of each image; see ``images.output_stems``.
    """

    folder: Path
    stems: dict[Path, Path]

    @classmethod
    def of(cls, folder: Path, images: list[FoundImage]) -> "Outputs":
        """Name the outputs of all images of a run.

        Raises:
            ImageError: If two images would be written to one file.
        """
        return cls(folder, dict(zip([image.path for image in images], output_stems(images), strict=True)))

    def path(self, image: Path, suffix: str) -> Path:
        """Return ``folder / <relative path without suffix><suffix>`` of an image file."""
        stem = self.stems[image]
        return self.folder / stem.with_name(stem.name + suffix)


@dataclass(frozen=True)
class _NetworkJob(ABC):
    """What both jobs share. Networks are loaded when first needed, and left behind when a job is pickled.

    Attributes:
        options: What ``model`` is loaded with.
        budget: Largest number of segments, or None.
        threshold: Boundary strength below which segments merge, or None.
        outputs: Where files go; None writes nothing.
        overlay: Whether to write an overlay as well.
    """

    options: dict[str, Any]
    budget: int | None
    threshold: float | None
    outputs: Outputs | None
    overlay: bool

    @abstractmethod
    def __call__(self, image: FoundImage, pixels: np.ndarray, clock: Clock) -> Result:
        """Work on one image; see ``Job``."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model"}

    def _write_overlay(self, image: FoundImage, pixels: np.ndarray, segmentation: Segmentation) -> None:
        if self.outputs is not None and self.overlay:
            write_png(self.outputs.path(image.path, OVERLAY_SUFFIX), overlay(pixels, segmentation))


@dataclass(frozen=True)
class SegmentJob(_NetworkJob):
    """Cuts an image and writes its segments; ``options`` are of ``ImageSegmenter.load``.

    Attributes:
        suffix: Format of the label map.
    """

    suffix: str

    @cached_property
    def model(self) -> ImageSegmenter:
        """The segmenter."""
        return ImageSegmenter.load(**self.options)

    def __call__(self, image: FoundImage, pixels: np.ndarray, clock: Clock) -> Result:
        """Work on one image; see ``Job``."""
        segmentation = self.model.segment_pixels(pixels, max_segments=self.budget, threshold=self.threshold, clock=clock)
        self._write_overlay(image, pixels, segmentation)
        if self.outputs is not None:
            segmentation.save(self.outputs.path(image.path, self.suffix))
        return Result(_summary(pixels, clock, segments=segmentation.num_segments))


@dataclass(frozen=True)
class TokenizeJob(_NetworkJob):
    """Turns an image into tokens, and makes a row where there are outputs.

    ``options`` are of ``SubobjectTokenizer.from_pretrained``.
    """

    @cached_property
    def model(self) -> SubobjectTokenizer:
        """The tokenizer."""
        return SubobjectTokenizer.from_pretrained(**self.options)

    def __call__(self, image: FoundImage, pixels: np.ndarray, clock: Clock) -> Result:
        """Work on one image; see ``Job``."""
        segmentation = self.model.segment(pixels, max_tokens=self.budget, threshold=self.threshold, clock=clock)
        with clock.measure("embeddings"):
            tokens = self.model.embed([pixels], [segmentation])
        self._write_overlay(image, pixels, segmentation)
        row = None if self.outputs is None else TokenRow.from_tokens(image.relative.as_posix(), tokens, image.path)
        return Result(_summary(pixels, clock, tokens=tokens.num_tokens), row)


def _summary(pixels: np.ndarray, clock: Clock, **counts: int) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    seconds = {stage: round(value, 4) for stage, value in clock.seconds.items()}
    return {"width": width, "height": height, **counts, "seconds": seconds}
