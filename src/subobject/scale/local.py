"""Many images on one machine: reading runs ahead in a thread, broken images are named and the others done, runs resume."""

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
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
_CLOCK_TICK = 0.02
"""Seconds after which a file system gives a later modification time to a new file."""


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
            changed = image.path.stat().st_mtime
            written = [self.path(image, suffix).stat().st_mtime for suffix in suffixes]
            return all(at > self._started and at >= changed for at in written)
        except OSError:
            return False


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, so that the image in work is finished; a second one interrupts at once.

    An exception in the middle of compiled code would come out as another one, or be lost. Main thread only.
    """
    stop = threading.Event()

    def handle(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


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
    """Return the modification time after which outputs were made with these settings: that of the run file.

    The file keeps its time as long as the settings stay the same.
    """
    try:
        if json.loads(path.read_text()) == settings:
            return path.stat().st_mtime
    except (OSError, ValueError):
        pass
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(settings, indent=2) + "\n")
    time.sleep(_CLOCK_TICK)
    return path.stat().st_mtime
