"""What is done to each of many images: cut it, or tokenize it. Jobs go to other processes, which load networks of their own."""

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


class _Job:
    """Leaves networks behind when it is pickled."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model"}


@dataclass(frozen=True)
class SegmentJob(_Job):
    """Cuts an image and writes its segments.

    Attributes:
        options: Of ``ImageSegmenter.load``.
        max_segments: Budget, or None.
        threshold: Boundary strength below which segments merge, or None.
        outputs: Where the files go; None writes nothing.
        suffix: Format of the label map.
        overlay: Whether to write an overlay as well.
    """

    options: dict[str, Any]
    max_segments: int | None
    threshold: float | None
    outputs: Outputs | None
    suffix: str
    overlay: bool

    @cached_property
    def model(self) -> ImageSegmenter:
        """The segmenter."""
        return ImageSegmenter.load(**self.options)

    def __call__(self, image: FoundImage, pixels: np.ndarray, clock: Clock) -> Result:
        """Work on one image; see ``Job``."""
        segmentation = self.model.segment_pixels(pixels, max_segments=self.max_segments, threshold=self.threshold, clock=clock)
        if self.outputs is not None:
            if self.overlay:
                _write_overlay(self.outputs, image, pixels, segmentation)
            segmentation.save(self.outputs.path(image.path, self.suffix))
        return Result(_summary(pixels, clock, segments=segmentation.num_segments))


@dataclass(frozen=True)
class TokenizeJob(_Job):
    """Turns an image into tokens.

    Attributes:
        options: Of ``SubobjectTokenizer.from_pretrained``.
        max_tokens: Budget, or None.
        threshold: Boundary strength below which segments merge, or None.
        outputs: Where overlays go; None writes nothing and makes no rows.
        overlay: Whether to write an overlay as well.
    """

    options: dict[str, Any]
    max_tokens: int | None
    threshold: float | None
    outputs: Outputs | None
    overlay: bool

    @cached_property
    def model(self) -> SubobjectTokenizer:
        """The tokenizer."""
        return SubobjectTokenizer.from_pretrained(**self.options)

    def __call__(self, image: FoundImage, pixels: np.ndarray, clock: Clock) -> Result:
        """Work on one image; see ``Job``."""
        segmentation = self.model.segment(pixels, max_tokens=self.max_tokens, threshold=self.threshold, clock=clock)
        with clock.measure("embeddings"):
            tokens = self.model.embed([pixels], [segmentation])
        row = None
        if self.outputs is not None:
            if self.overlay:
                _write_overlay(self.outputs, image, pixels, segmentation)
            row = TokenRow.from_tokens(image.relative.as_posix(), tokens, image.path)
        return Result(_summary(pixels, clock, tokens=tokens.num_tokens), row)


def _write_overlay(outputs: Outputs, image: FoundImage, pixels: np.ndarray, segmentation: Segmentation) -> None:
    write_png(outputs.path(image.path, OVERLAY_SUFFIX), overlay(pixels, segmentation))


def _summary(pixels: np.ndarray, clock: Clock, **counts: int) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    seconds = {stage: round(value, 4) for stage, value in clock.seconds.items()}
    return {"width": width, "height": height, **counts, "seconds": seconds}
