"""JPEG and WebP at a given number of bytes, to compare tokens with."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from subobject.images import resize
from subobject.registry import lookup

CODECS: dict[str, tuple[str, int]] = {"jpeg": ("JPEG", 95), "webp": ("WEBP", 100)}
"""Name -> Pillow's name of the format, and its best useful quality."""


def code_within(image: np.ndarray, codec: str, max_bytes: int) -> tuple[np.ndarray, int]:
    """Code an image as well as a number of bytes allows.

    The highest quality whose file fits is taken; where none fits, the image is halved until one does, and enlarged afterwards.

    Args:
        image: RGB, ``(H, W, 3)`` uint8.
        codec: A key of ``CODECS``.
        max_bytes: Largest size of the file, headers included.

    Returns:
        The decoded picture at the size of the image, and the bytes of the file.

    Raises:
        ValueError: If the codec is unknown, or not even one pixel fits.
    """
    name, best = lookup(CODECS, codec, "codec")
    size_hw = image.shape[:2]
    while True:
        file = _largest_fitting(lambda quality, pixels=image: _encode(pixels, name, quality), best, max_bytes)  # type: ignore[misc]
        if file is not None:
            with Image.open(io.BytesIO(file)) as picture:
                return resize(np.asarray(picture.convert("RGB")), size_hw), len(file)
        if image.shape[:2] == (1, 1):
            raise ValueError(f"no {name} file fits into {max_bytes} bytes: allow more")
        image = resize(image, (max(1, image.shape[0] // 2), max(1, image.shape[1] // 2)))


def _largest_fitting(encode: Callable[[int], bytes], best: int, max_bytes: int) -> bytes | None:
    """Search the qualities 1 .. ``best`` by halves; sizes grow with quality, nearly always."""
    low, high, found = 1, best, None
    while low <= high:
        middle = (low + high) // 2
        file = encode(middle)
        if len(file) <= max_bytes:
            low, found = middle + 1, file
        else:
            high = middle - 1
    return found


def _encode(image: np.ndarray, name: str, quality: int) -> bytes:
    stream = io.BytesIO()
    options = {"optimize": True} if name == "JPEG" else {"method": 4}
    Image.fromarray(image).save(stream, name, quality=quality, **options)
    return stream.getvalue()
