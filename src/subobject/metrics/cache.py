"""Scores kept on disk, by a digest of everything that they depend on."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from subobject import __version__
from subobject.files import atomic_path

VERSION = 1
"""Raised whenever a score changes for the same input, so that kept ones are no longer found."""


def digest(*parts: Any) -> str:
    """Return the SHA-256, in hexadecimal, of arrays, the contents of files (``Path``), and anything with a ``repr``."""
    state = hashlib.sha256(f"{__version__} {VERSION}".encode())
    for part in parts:
        if isinstance(part, np.ndarray):
            header, content = f"array {part.dtype} {part.shape}", np.ascontiguousarray(part).tobytes()
        elif isinstance(part, Path):
            content = part.read_bytes()
            header = f"file {len(content)}"
        else:
            header, content = "value", repr(part).encode()
        state.update(f"\n{header}\n".encode())
        state.update(content)
    return state.hexdigest()


def cached(folder: Path | None, key: tuple, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return what ``compute`` returned for this key before, or call it and keep the result.

    Args:
        folder: Where results are kept, ``<folder>/<first two digits>/<digest>.npz``; None keeps nothing.
        key: Arguments of ``digest``.
        compute: Makes the result, arrays by name.
    """
    if folder is None:
        return compute()
    name = digest(*key)
    path = folder / name[:2] / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {field: kept[field] for field in kept.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        result = compute()
        with atomic_path(path) as partial:
            np.savez(partial, **result)  # type: ignore[arg-type]
        return result
