"""Many images on one machine: reading runs ahead in a thread, broken images are named and the others done, runs resume."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from subobject.files import atomic_path
from subobject.images import FoundImage, ImageError, output_stems, read_image
from subobject.timing import Clock

logger = logging.getLogger(__name__)
RUN_FILE = "subobject-run.json"
_READ_AHEAD = 2


@dataclass(frozen=True)
class Outcome:
    """What became of one image: ``summary`` when it was done, ``error`` (one sentence) when it failed, neither when skipped."""

    image: FoundImage
    summary: dict[str, Any] | None = None
    error: str | None = None

    @property
    def skipped(self) -> bool:
        """Whether an earlier run had done it."""
        return self.summary is None and self.error is None


class Run:
    """The output folder of a run: names its files, and knows which were done with the same settings.

    Args:
        folder: Output folder; made if missing.
        images: All images of the run.
        settings: What decides the content of the outputs. An earlier run with other settings is done again.

    Raises:
        ValueError: If the folder is a file or cannot be written.
    """

    def __init__(self, folder: Path, images: list[FoundImage], settings: dict[str, Any]):
        self.folder = folder
        self._stems = dict(zip([image.path for image in images], output_stems(images), strict=True))
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"the output {folder} is a file: give a folder with -o")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._started = _started(folder / RUN_FILE, settings)
        except OSError as error:
            raise ValueError(f"cannot write to the output folder {folder}: {error.strerror or error}") from error

    def path(self, image: FoundImage, suffix: str) -> Path:
        """Return ``folder / <relative path without suffix><suffix>``; see ``images.output_stems``."""
        stem = self._stems[image.path]
        return self.folder / stem.with_name(stem.name + suffix)

    def has(self, image: FoundImage, suffixes: list[str]) -> bool:
        """Whether all outputs of an image are there, made with these settings from this version of the file."""
        try:
            since = max(self._started, image.path.stat().st_mtime)
            return all(self.path(image, suffix).stat().st_mtime >= since for suffix in suffixes)
        except OSError:
            return False


def process(
    images: list[FoundImage],
    work: Callable[[FoundImage, np.ndarray, Clock], dict[str, Any]],
    is_done: Callable[[FoundImage], bool],
) -> Iterator[Outcome]:
    """Read and work on images one after the other.

    Args:
        images: What to do, in order.
        work: Called with the image, its pixels ``(H, W, 3)`` uint8 and a clock that holds ``read``; returns a summary.
        is_done: Whether an image needs no work.

    Yields:
        One outcome an image, in order. A failure never ends the run.
    """
    todo = iter(images)
    with ThreadPoolExecutor(1) as reader:

        def start(image: FoundImage) -> tuple[FoundImage, Future[tuple[np.ndarray, Clock]] | None]:
            return image, None if is_done(image) else reader.submit(_read, image)

        ahead = [start(image) for image in islice(todo, _READ_AHEAD)]
        try:
            for upcoming in chain(todo, [None] * len(ahead)):
                image, future = ahead.pop(0)
                if upcoming is not None:
                    ahead.append(start(upcoming))
                yield Outcome(image) if future is None else _finish(image, future, work)
        finally:
            for _, future in ahead:
                if future is not None:
                    future.cancel()


def _finish(image: FoundImage, future: "Future[tuple[np.ndarray, Clock]]", work: Callable[..., dict[str, Any]]) -> Outcome:
    try:
        pixels, clock = future.result()
        return Outcome(image, summary=work(image, pixels, clock))
    except ImageError as error:
        return Outcome(image, error=str(error))
    except MemoryError:
        return Outcome(image, error=f"{image.path} needs more memory than there is: scale it down")
    except OSError as error:
        return Outcome(image, error=f"{image.path}: cannot write its output: {error.strerror or error}")
    except Exception as error:  # One strange image must not cost the others; the traceback is in the log.
        logger.debug("%s failed", image.path, exc_info=True)
        return Outcome(image, error=f"{image.path}: {type(error).__name__}: {error}")


def _read(image: FoundImage) -> tuple[np.ndarray, Clock]:
    clock = Clock()
    with clock.measure("read"):
        return read_image(image.path), clock


def _started(path: Path, settings: dict[str, Any]) -> float:
    """Return since when outputs count as done: the start of the first run with these settings in a row."""
    try:
        earlier = json.loads(path.read_text())
        if earlier["settings"] == settings:
            return float(earlier["started"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    # File systems may round times down, so a run starts a moment before its first output.
    started = time.time() - 0.01
    with atomic_path(path) as partial:
        partial.write_text(json.dumps({"settings": settings, "started": started}, indent=2) + "\n")
    return started
