"""Rendering of whole splits: processes in parallel, runs that resume, and a failure that costs one scene only.

A scene is done when its picture, its label map and its own scene file are there, in this order and each complete. The scene file
of the split, in the official format, is put together from them when a run ends, also when it is interrupted.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from PIL import Image

from subobject.data.clevr import image_name, scenes_path
from subobject.data.clevr_render import Renderer, choose_variant, find_denoiser
from subobject.data.clevr_scenes import sample_scene, scene_seed
from subobject.files import atomic_path, lock_folder, remove_partials
from subobject.images import write_png

_SINGLE_THREAD = {"OIDN_NUM_THREADS": "1", "OIDN_SET_AFFINITY": "0"}


@dataclass(frozen=True)
class SplitSettings:
    """What decides the scenes of a split and how they look.

    Attributes:
        split: Name of the split.
        seed: Seed of its scenes.
        width: Width of the pictures in pixels.
        height: Height of the pictures in pixels.
        samples: Paths a pixel.
        denoise: Whether the grain is taken out.
    """

    split: str
    seed: int = 0
    width: int = 320
    height: int = 240
    samples: int = 16
    denoise: bool = True

    def __post_init__(self) -> None:
        if not (self.split.isalnum() and self.split.isascii()):
            raise ValueError(f"the split {self.split!r} cannot be part of a file name: use letters and digits")
        if self.seed < 0:
            raise ValueError(f"the seed is {self.seed}: use 0 or more")
        if min(self.width, self.height) < 16 or max(self.width, self.height) > 8192:
            raise ValueError(f"a picture of {self.width} x {self.height} pixels cannot be drawn: use sides from 16 to 8192")
        if self.samples < 1:
            raise ValueError(f"the number of samples is {self.samples}: use 1 or more")


@dataclass(frozen=True)
class SceneOutcome:
    """What became of a scene: ``skipped`` when an earlier run had drawn it, ``error`` (one sentence) when it failed."""

    index: int
    skipped: bool = False
    error: str | None = None


def render_split(
    folder: str | Path, settings: SplitSettings, count: int, workers: int = 1
) -> Generator[SceneOutcome, None, None]:
    """Draw the first ``count`` scenes of a split into a folder with the layout of CLEVR; see ``clevr.read_clevr``.

    Args:
        folder: Where ``images``, ``masks`` and ``scenes`` come to lie.
        settings: The split. A folder holds a split with one set of settings only.
        count: Number of scenes; those already there are skipped.
        workers: Processes, each using one core.

    Yields:
        One outcome a scene, in the order in which they end. Closing the iterator early ends the run after the scenes in work.

    Raises:
        ValueError: If the folder holds the split with other settings, another run writes to it, or a number is out of range.
        ModuleNotFoundError: If a package of the extra ``clevr`` is missing.
    """
    if count < 1 or workers < 1:
        raise ValueError(f"count is {count} and workers is {workers}: use 1 or more")
    job = _Job(Path(folder), settings, choose_variant())
    if settings.denoise:
        find_denoiser()
    _claim(job)
    return _run(job, count, workers)


@dataclass(frozen=True)
class _Job:
    """What a process needs to know to draw scenes."""

    folder: Path
    settings: SplitSettings
    variant: str

    def image_path(self, index: int) -> Path:
        return self.folder / "images" / self.settings.split / image_name(self.settings.split, index)

    def mask_path(self, index: int) -> Path:
        return self.folder / "masks" / self.settings.split / image_name(self.settings.split, index)

    @property
    def scene_folder(self) -> Path:
        return self.folder / "scenes" / self.settings.split

    def scene_path(self, index: int) -> Path:
        return (self.scene_folder / image_name(self.settings.split, index)).with_suffix(".json")

    def is_done(self, index: int) -> bool:
        return all(path.is_file() for path in (self.scene_path(index), self.image_path(index), self.mask_path(index)))


class _Process:
    """One drawing process, started when needed and again after it died."""

    def __init__(self, job: _Job):
        self._job = job
        self._pool: ProcessPoolExecutor | None = None

    def draw(self, index: int) -> SceneOutcome:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_start, initargs=(self._job,))
        try:
            return self._pool.submit(_draw, index).result()
        except BrokenProcessPool:
            self.close()
            return SceneOutcome(index, error=f"scene {index}: the process that drew it died; run the same command again")

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _run(job: _Job, count: int, workers: int) -> Generator[SceneOutcome, None, None]:
    processes = [_Process(job) for _ in range(workers)]
    idle: SimpleQueue[_Process] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def draw(index: int) -> SceneOutcome:
        process = idle.get()
        try:
            return process.draw(index)
        finally:
            idle.put(process)

    with lock_folder(job.scene_folder):
        remove_partials(path(0).parent for path in (job.image_path, job.mask_path, job.scene_path))
        try:
            todo = []
            for index in range(count):
                if job.is_done(index):
                    yield SceneOutcome(index, skipped=True)
                else:
                    todo.append(index)
            with ThreadPoolExecutor(workers) as threads:
                futures = [threads.submit(draw, index) for index in todo]
                try:
                    for future in as_completed(futures):
                        yield future.result()
                finally:
                    for future in futures:
                        future.cancel()
        finally:
            for process in processes:
                process.close()
            _collect_scenes(job)


_drawing: tuple[_Job, Renderer] | None = None
"""Set once in each drawing process, never in the process that starts them."""


def _start(job: _Job) -> None:
    global _drawing
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the run in good order.
    os.environ.update(_SINGLE_THREAD)
    settings = job.settings
    renderer = Renderer(job.variant, (settings.width, settings.height), settings.samples, denoise=settings.denoise)
    _drawing = job, renderer


def _draw(index: int) -> SceneOutcome:
    assert _drawing is not None
    job, renderer = _drawing
    settings = job.settings
    try:
        scene, labels = sample_scene(settings.seed, settings.split, index, (settings.width, settings.height))
        noise = int(scene_seed(settings.seed, settings.split, index).generate_state(1)[0])
        write_png(job.image_path(index), renderer(scene, noise))
        with atomic_path(job.mask_path(index)) as partial:
            Image.fromarray(labels.astype(np.uint16)).save(partial)
        with atomic_path(job.scene_path(index)) as partial:
            partial.write_text(json.dumps(scene), encoding="utf-8")
    except Exception as error:  # One strange scene must not cost the others.
        return SceneOutcome(index, error=f"scene {index}: {type(error).__name__}: {error}")
    return SceneOutcome(index)


def _claim(job: _Job) -> None:
    """Write the settings of the split beside its scenes, or compare them with those of an earlier run."""
    path = job.folder / "scenes" / f"CLEVR_{job.settings.split}_settings.json"
    wanted = asdict(job.settings)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        return
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it if the scenes beside it have the same settings") from error
    if found != wanted:
        differing = next(name for name in wanted if found.get(name) != wanted[name])
        raise ValueError(
            f"{job.folder} holds the split {job.settings.split!r} with {differing} {found.get(differing)!r}, "
            f"not {wanted[differing]!r}: use the same options, or another folder"
        )


def _collect_scenes(job: _Job) -> None:
    scenes = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(job.scene_folder.glob("*.json"))]
    if not scenes:
        return
    info = {
        "split": job.settings.split,
        "version": "1.0",
        "date": date.today().strftime("%m/%d/%Y"),
        "license": "drawn by `subobject data clevr-render`; not part of the CLEVR release",
    }
    with atomic_path(scenes_path(job.folder, job.settings.split)) as partial:
        partial.write_text(json.dumps({"info": info, "scenes": scenes}), encoding="utf-8")
