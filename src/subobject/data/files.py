"""Reading of the pictures and label maps of data sets, pixel for pixel as they are stored."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_LABEL_MODES = ("1", "L", "P", "I", "I;16", "I;16B")


def read_rgb(source: Path | bytes, name: str | None = None) -> np.ndarray:
    """Read a picture without turning it as EXIF asks, because annotations belong to the pixels as stored.

    Args:
        source: A file, or the bytes of one.
        name: What the message calls it; the path by default.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ValueError: If it cannot be read.
    """
    return _read(source, name, lambda image: np.asarray(image.convert("RGB")))


def read_labels(path: Path) -> np.ndarray:
    """Read a label map of one channel (1, 8, 16 or 32 bits, or a palette's indices), ``(H, W)`` int32.

    Raises:
        ValueError: If it cannot be read or has colours.
    """

    def values(image: Image.Image) -> np.ndarray:
        if image.mode not in _LABEL_MODES:
            raise ValueError(f"its pixel format is {image.mode}, but a label map has one channel")
        return np.asarray(image).astype(np.int32)

    return _read(path, None, values)


def list_pictures(folder: Path) -> list[Path]:
    """List the pictures of a folder, by name; none where there is no such folder."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURES and not path.name.startswith("."))


def _read(source, name, convert) -> np.ndarray:
    name = name or str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return convert(image)
    except FileNotFoundError:
        raise ValueError(f"{name} is missing") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "it is no picture" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f"{name} cannot be read: {reason}") from error
