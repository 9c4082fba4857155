"""Where the results of many images go: a folder of files or a token store, each of which a second run continues."""

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from subobject.files import atomic_path, lock_folder, remove_partials, sha256
from subobject.images import FoundImage, is_own_png
from subobject.scale.jobs import OVERLAY_SUFFIX, Outputs, Result
from subobject.tokens.store.writer import RefusedImage, TokenWriter

RUN_FILE = "subobject-run.json"
_CLOCK_TICK = 0.02
"""Seconds after which a file system gives a later modification time to a new file."""


class Run(Protocol):
    """Keeps results, and knows which images have theirs. A context manager; leaving it gives the folder free."""

    def has(self, image: FoundImage) -> bool:
        """Return whether an image is done, with the same settings and from this version of its file."""
        ...

    def keep(self, result: Result) -> str | None:
        """Keep what a job returned; returns one sentence if it cannot be kept."""
        ...

    def fail(self, image: FoundImage, error: str) -> None:
        """Note an image that could not be done."""
        ...

    def __enter__(self) -> "Run": ...

    def __exit__(self, *exception: object) -> None: ...


class NoRun:
    """Keeps nothing."""

    def has(self, image: FoundImage) -> bool:
        """Return false."""
        return False

    def keep(self, result: Result) -> str | None:
        """Do nothing."""
        return None

    def fail(self, image: FoundImage, error: str) -> None:
        """Do nothing."""

    def __enter__(self) -> "NoRun":
        return self

    def __exit__(self, *exception: object) -> None:
        return None


class FileRun(NoRun):
    """Files that the jobs have written themselves; ``subobject-run.json`` holds the settings they were made with.

    Args:
        outputs: Their names.
        suffixes: Suffixes of the files of each image.
        settings: What decides their content. Files of an earlier run with other settings are made again.

    Raises:
        ValueError: If the folder cannot be written, another run has it, or a file would be written over an image.
    """

    def __init__(self, outputs: Outputs, suffixes: list[str], settings: dict[str, Any]):
        self._outputs = outputs
        self._suffixes = suffixes
        written = {os.path.abspath(outputs.path(path, suffix)) for path in outputs.stems for suffix in suffixes}
        for path in outputs.stems:
            if os.path.abspath(path) in written:
                raise ValueError(f"{path} would be overwritten by an output: give another folder with -o")
        with ExitStack() as stack:
            stack.enter_context(lock_folder(outputs.folder))
            remove_partials({outputs.folder / stem.parent for stem in outputs.stems.values()})
            try:
                self._started = _started(outputs.folder / RUN_FILE, settings)
            except OSError as error:
                raise ValueError(f"cannot write to the output folder {outputs.folder}: {error.strerror or error}") from error
            self._held = stack.pop_all()

    def has(self, image: FoundImage) -> bool:
        """Return whether all files of an image are there, newer than the settings and the image."""
        try:
            changed = image.path.stat().st_mtime
            written = [self._outputs.path(image.path, suffix).stat().st_mtime for suffix in self._suffixes]
            return all(at > self._started and at >= changed for at in written)
        except OSError:
            return False

    def __exit__(self, *exception: object) -> None:
        self._held.close()


class StoreRun:
    """A token store. Images whose file has changed since are done again, with the others of their shard.

    Args:
        outputs: Names of the images, and of their overlays.
        overlay: Whether an image is done only when its overlay is there.
        writer: The store.
        images: All images of the run.
    """

    def __init__(self, outputs: Outputs, overlay: bool, writer: TokenWriter, images: list[FoundImage]):
        self._outputs = outputs
        self._overlay = overlay
        self._writer = writer
        remove_partials({outputs.folder / stem.parent for stem in outputs.stems.values()} if overlay else set())
        writer.remove([_name(image) for image in images if self._has_changed(image)])

    def has(self, image: FoundImage) -> bool:
        """Return whether an image is in the store, and its overlay where it should be."""
        return _name(image) in self._writer and (not self._overlay or self._outputs.path(image.path, OVERLAY_SUFFIX).exists())

    def keep(self, result: Result) -> str | None:
        """Add the tokens of an image, unless only its overlay was missing.

        Returns:
            One sentence if its vectors do not fit the store.

        Raises:
            ValueError: If a shard cannot be written.
        """
        if result.row is not None and result.row.image_id not in self._writer:
            try:
                self._writer.write_row(result.row)
            except RefusedImage as error:
                return str(error)
        return None

    def fail(self, image: FoundImage, error: str) -> None:
        """List an image in the manifest as failed."""
        self._writer.fail(_name(image), error)

    def __enter__(self) -> "StoreRun":
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.close()

    def _has_changed(self, image: FoundImage) -> bool:
        """Compare the file with what the store knows of it: the checksum, but only if it looks newer or has another size."""
        written = self._writer.images.get(_name(image))
        if written is None or written.sha256 is None:
            return False
        try:
            now = image.path.stat()
            if now.st_size != written.file_size:
                return True
            newer = now.st_mtime >= (self._writer.folder / written.shard).stat().st_mtime
            return newer and sha256(image.path) != written.sha256
        except OSError:  # Reading it will say why.
            return False


def without_outputs(images: list[FoundImage]) -> list[FoundImage]:
    """Leave out the pictures that earlier runs wrote among the photographs, unless there is nothing else."""
    return [image for image in images if not is_own_png(image.path)] or images


def _name(image: FoundImage) -> str:
    return image.relative.as_posix()


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
