"""Many images on one machine: broken images are named and the others done; one process that reads ahead, or several."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing.connection import wait
from typing import TypeVar

import numpy as np

from subobject.images import FoundImage, ImageError, read_image
from subobject.scale.jobs import Job, Result
from subobject.timing import Clock

logger = logging.getLogger(__name__)
_READ_AHEAD = 2
_AHEAD_A_WORKER = 2

T = TypeVar("T")
Pixels = tuple[np.ndarray, Clock]


@dataclass(frozen=True)
class Outcome:
    """What became of one image: ``result`` when it was done, ``error`` (one sentence) when it failed, neither when skipped."""

    image: FoundImage
    result: Result | None = None
    error: str | None = None


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


def process(images: list[FoundImage], job: Job, is_done: Callable[[FoundImage], bool], *, workers: int = 1) -> Iterator[Outcome]:
    """Work on images.

    Args:
        images: What to do, in order.
        job: The work.
        is_done: Whether an image needs none.
        workers: Processes to work in; 1 is this one.

    Yields:
        One outcome an image, in order. A failure never ends the run.

    Raises:
        ValueError: If ``workers`` is below 1, or a worker was killed.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}: use 1 or more")
    if workers == 1:
        with ThreadPoolExecutor(1) as reader:
            for image, reading in _ahead(images, is_done, lambda image: reader.submit(_read, image), _READ_AHEAD):
                yield Outcome(image) if reading is None else _attempt(image, job, reading.result)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(job,)) as pool:
            ahead = _ahead(images, is_done, lambda image: pool.submit(_attempt_in_worker, image), _AHEAD_A_WORKER * workers)
            for image, working in ahead:
                yield Outcome(image) if working is None else working.result()
    except BrokenProcessPool:
        raise ValueError(
            "a worker was killed, most likely for want of memory: use fewer --workers; the same command continues the run"
        ) from None


def _ahead(
    images: list[FoundImage], is_done: Callable[[FoundImage], bool], submit: Callable[[FoundImage], Future[T]], depth: int
) -> Iterator[tuple[FoundImage, Future[T] | None]]:
    """Yield each image with its future, None if it is done, while the next ``depth`` are under way."""
    todo = iter(images)

    def start(image: FoundImage) -> tuple[FoundImage, Future[T] | None]:
        return image, None if is_done(image) else submit(image)

    waiting = [start(image) for image in islice(todo, depth)]
    try:
        for upcoming in chain(todo, [None] * len(waiting)):
            if upcoming is not None:
                waiting.append(start(upcoming))
            yield waiting.pop(0)
    finally:
        for _, future in waiting:
            if future is not None:
                future.cancel()


def _attempt(image: FoundImage, job: Job, read: Callable[[], Pixels]) -> Outcome:
    try:
        pixels, clock = read()
        return Outcome(image, result=job(image, pixels, clock))
    except ImageError as error:
        return Outcome(image, error=str(error))
    except MemoryError:
        return Outcome(image, error=f"{image.path} needs more memory than there is: scale it down")
    except OSError as error:
        return Outcome(image, error=f"{image.path}: cannot write its output: {error.strerror or error}")
    except Exception as error:  # One strange image must not cost the others; the traceback is in the log.
        logger.debug("%s failed", image.path, exc_info=True)
        return Outcome(image, error=f"{image.path}: {type(error).__name__}: {error}")


def _read(image: FoundImage) -> Pixels:
    clock = Clock()
    with clock.measure("read"):
        return read_image(image.path), clock


_worker_job: Job


def _start_worker(job: Job) -> None:
    """Prepare a worker: Ctrl-C is the parent's to handle, and a parent that is killed takes its workers with it."""
    global _worker_job
    _worker_job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _attempt_in_worker(image: FoundImage) -> Outcome:
    return _attempt(image, _worker_job, lambda: _read(image))
