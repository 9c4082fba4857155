"""Writing files so that nothing half-written is ever found under its final name; checksums, and one writer a folder."""

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)
_PARTIAL = re.compile(r"\..+\.\d+\.partial(\.\w+)*")


@contextmanager
def atomic_path(path: str | Path, *, sync: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` when the block ends, delete it when it fails.

    Missing parent folders are made. The temporary name keeps the suffix, since writers choose formats by it. With ``sync`` the
    content is on the disk before the name, so that the file survives a power cut whole or not at all.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_path(folder / "a" / "note.txt") as partial:
        ...     _ = partial.write_text("done")
        >>> [file.name for file in (folder / "a").iterdir()]
        ['note.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        if sync:
            _sync(partial)
        os.replace(partial, path)
        if sync:
            _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folders: Iterable[Path]) -> None:
    """Delete the temporary files that a killed ``atomic_path`` left in these folders; nobody may be writing there."""
    for folder in folders:
        for file in folder.glob(".*.partial*"):
            if _PARTIAL.fullmatch(file.name):
                file.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Make a folder if it is missing, and keep other processes from locking it during the block.

    The lock is the operating system's, so that a killed process leaves none behind; where it knows none, nothing is locked.

    Raises:
        ValueError: If the folder is a file, cannot be made or written, or another process has locked it.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"the output {folder} is a file: give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ValueError(f"cannot write to the output folder {folder}: {error.strerror or error}") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"another run is writing to {folder}: wait for it, or give another folder") from None
    except (ImportError, OSError) as error:  # Windows, and network file systems without locks
        logger.debug("%s cannot be locked: %s", folder, error)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
