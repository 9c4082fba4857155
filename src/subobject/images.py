"""Pictures in: anything a user has becomes RGB uint8 ``(H, W, 3)``, or an ``ImageError`` with one sentence that says why not."""

import glob
import io
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from subobject.files import atomic_path

MAX_PIXELS = 200_000_000

# Suffixes of each format; the first one is the usual.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jfif", ".jpe"),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "AVIF": (".avif",),
}
_FORMAT_OF_SUFFIX = {suffix: name for name, suffixes in SUFFIXES.items() for suffix in suffixes}
_VARIANTS = {"MPO": "JPEG", "DIB": "BMP"}
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WEBP",
    b"BM": "BMP",
    b"GIF8": "GIF",
}
_MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "RGBX", "CMYK", "YCbCr")
_EXIF_ORIENTATION = 0x0112
_WRITTEN_BY = ("Software", "subobject")
_pillow_limit = threading.Lock()


class ImageError(ValueError):
    """A picture that cannot be read; the message names it and says why."""


@dataclass(frozen=True)
class FoundImage:
    """An image file and the name that outputs derive from.

    Attributes:
        path: Where the file is.
        relative: Its path below the folder (or the fixed part of the glob) it was found in; the file name for a file.
    """

    path: Path
    relative: Path


def read_image(source: Any, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture as RGB.

    EXIF orientation is applied, transparency is composited on white, 16 bits a channel are scaled to 8, grey, palette and
    CMYK become RGB, and of an animated or many-page file the first picture is taken, with a warning.

    Args:
        source: Path (``str`` or ``Path``), the ``bytes`` of a file, a PIL image, a numpy array ``(H, W)`` or
            ``(H, W, 1 | 3 | 4)``, or a torch tensor, which may also have its channels first. Arrays and tensors hold uint8,
            uint16 or floating-point values in [0, 1].
        max_pixels: Largest ``H * W`` that is decoded; files are judged by their header.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ImageError: If the picture is missing, unreadable, damaged, too large, misnamed, or of an unsupported kind.
    """
    if isinstance(source, (str, os.PathLike)):
        return _read_path(Path(source), max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        with _open(io.BytesIO(source), "the image given as bytes", max_pixels) as image:
            return _decode(image, "the image given as bytes")
    if isinstance(source, Image.Image):
        name = f"the PIL image {getattr(source, 'filename', '')}".rstrip()
        _check_size(source, name, max_pixels)
        return _decode(source, name)
    if isinstance(source, np.ndarray):
        return _from_array(source, "the image array")
    if type(source).__module__.partition(".")[0] == "torch" and hasattr(source, "detach"):
        return _from_tensor(source)
    raise ImageError(
        f"cannot read an image from {type(source).__name__}: give a path, bytes, a PIL image, a numpy array or a torch tensor"
    )


def _read_path(path: Path, max_pixels: int) -> np.ndarray:
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder, not an image: give the files in it")
        if path.exists() and not path.is_file():
            raise ImageError(f"{path} is not a regular file")
        stream = path.open("rb")
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist") from None
    except PermissionError:
        raise ImageError(f"{path} cannot be opened: permission denied") from None
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    with stream, _open(stream, str(path), max_pixels) as image:
        found = _VARIANTS.get(image.format or "", image.format or "")
        expected = _FORMAT_OF_SUFFIX.get(path.suffix.lower(), found)
        if found != expected:
            right = path.with_suffix(SUFFIXES[found][0]).name
            raise ImageError(f"{path} holds a {found} image: rename it to {right}")
        return _decode(image, str(path))


def _open(stream: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    head = stream.read(16)
    stream.seek(0)
    if not head:
        raise ImageError(f"{name} is empty (zero bytes)")
    Image.init()
    known = [kind for kind in (*SUFFIXES, *_VARIANTS) if kind in Image.OPEN]
    # Pillow's own limit is a module global that warns or raises on opening; ours, from the same header, stands in for it.
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(stream, formats=known)
        except UnidentifiedImageError:
            magic = next((kind for start, kind in _MAGIC.items() if head.startswith(start)), None)
            if magic:
                raise ImageError(f"{name} is damaged or truncated: its {magic} header cannot be read") from None
            raise ImageError(f"{name} is not an image in a known format ({', '.join(SUFFIXES)})") from None
        except Exception as error:  # decoders of hostile bytes raise anything
            raise ImageError(f"{name} is damaged: {_reason(error)}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    _check_size(image, name, max_pixels)
    if image.format != "MPO" and getattr(image, "is_animated", False):
        warnings.warn(f"{name} holds several pictures: the first is read", stacklevel=4)
    return image


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height == 0:
        raise ImageError(f"{name} has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} = {width * height:,} pixels, more than the limit of {max_pixels:,}: "
            "raise max_pixels if the file can be trusted"
        )


def _decode(image: Image.Image, name: str) -> np.ndarray:
    try:
        image.load()
        pixels = _to_rgb(image, name)
    except ImageError:
        raise
    except Exception as error:  # decoders of hostile bytes raise anything
        reason = _reason(error)
        raise ImageError(f"{name} is {'truncated' if 'truncated' in reason else 'damaged'}: {reason}") from error
    return np.array(_orient(pixels, _orientation(image)), order="C")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{name} holds 32-bit integers beyond 16 bits: save it with 8 or 16 bits a channel")
        return np.repeat(_to_8_bits(values)[..., None], 3, axis=2)
    if image.mode not in _MODES:
        raise ImageError(f"{name} has the unsupported pixel mode {image.mode!r}: save it as RGB")
    if image.has_transparency_data:
        return _on_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Scale 0 .. 65535 to 0 .. 255, rounding."""
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # broken metadata does not make the pixels unreadable
        return 1


def _orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: 5 to 8 swap the axes; rotations and flips follow."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _from_tensor(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    return _from_array(array, "the image tensor")


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise ImageError(f"{name}: expected shape (H, W) or (H, W, 1 | 3 | 4) with pixels, got {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ImageError(f"{name} holds NaN or infinite values: replace them by numbers in [0, 1]")
        if low < -1e-3 or high > 1 + 1e-3:
            raise ImageError(f"{name}: expected floating-point values in [0, 1], got [{low:g}, {high:g}]: divide by the maximum")
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    elif array.dtype == np.uint16:
        array = _to_8_bits(array)
    elif array.dtype != np.uint8:
        raise ImageError(f"{name}: expected uint8, uint16 or floating-point values, got {array.dtype.name}")
    if array.shape[2] == 4:
        return _on_white(array)
    return np.array(np.broadcast_to(array, (*array.shape[:2], 3)), order="C")


def find_images(sources: Sequence[str | Path]) -> list[FoundImage]:
    """List the image files behind files, folders and globs.

    Folders are searched recursively for known suffixes (in any case), without hidden files, hidden folders and links to
    folders; a file that is named itself is listed whatever its suffix.

    Returns:
        In the order of the sources, sorted within each; a file that is reached twice is listed once.

    Raises:
        ImageError: If a source does not exist or leads to no image.
    """
    found: dict[str, FoundImage] = {}
    for source in sources:
        for image in _expand(source):
            found.setdefault(os.path.realpath(image.path), image)
    return list(found.values())


def output_stems(images: Sequence[FoundImage]) -> list[Path]:
    """Name the outputs: the relative path without suffix, or with it where two files differ in nothing else.

    Raises:
        ImageError: If two files have the same relative path, so that one output would overwrite the other.
    """
    short: dict[Path, int] = {}
    for image in images:
        stem = image.relative.with_suffix("")
        short[stem] = short.get(stem, 0) + 1
    owner: dict[Path, FoundImage] = {}
    for image in images:
        stem = image.relative.with_suffix("")
        stem = stem if short[stem] == 1 else image.relative
        if stem in owner:
            raise ImageError(f"{owner[stem].path} and {image.path} would both be written as {stem}: give their common folder")
        owner[stem] = image
    return list(owner)


def _expand(source: str | Path) -> list[FoundImage]:
    path = Path(source)
    if path.is_file():
        return [FoundImage(path, Path(path.name))]
    if path.is_dir():
        images = [FoundImage(file, file.relative_to(path)) for file in sorted(_walk(path))]
        if not images:
            raise ImageError(f"{path} holds no image ({' '.join(sorted(_FORMAT_OF_SUFFIX))})")
        return images
    if not glob.has_magic(str(source)):
        raise ImageError(f"{path} does not exist")
    depth = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
    base = Path(*path.parts[:depth])
    files: set[Path] = set()
    for match in map(Path, glob.glob(str(source), recursive=True)):
        files.update(_walk(match) if match.is_dir() else [match] if match.suffix.lower() in _FORMAT_OF_SUFFIX else [])
    if not files:
        raise ImageError(f"no image matches {source}")
    return [FoundImage(file, file.relative_to(base)) for file in sorted(files)]


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in _FORMAT_OF_SUFFIX:
                yield Path(root) / name


def normalise(pixels: np.ndarray, mean: Sequence[float], std: Sequence[float], *, scale: float = 1 / 255) -> np.ndarray:
    """Turn pixels into the input of a network: ``(pixels * scale - mean) / std``.

    Args:
        pixels: RGB, ``(H, W, 3)`` uint8.
        mean: Of each channel, in [0, 1].
        std: Of each channel, positive.
        scale: Factor that takes a pixel to [0, 1].

    Returns:
        ``(1, 3, H, W)`` float32.
    """
    values = np.arange(256, dtype=np.float64) * scale
    tables = ((values[None] - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(np.float32)
    result = np.empty((1, 3, *pixels.shape[:2]), np.float32)
    for c in range(3):
        tables[c].take(pixels[..., c], out=result[0, c], mode="clip")
    return result


def resize(pixels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize with aligned corners of the picture (half-pixel convention): area average to shrink, bilinear to enlarge.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)``, uint8 or float32.
        size_hw: New height and width, at least 1.

    Returns:
        The same type at the new size; ``pixels`` itself if it has that size.
    """
    if pixels.shape[:2] == tuple(size_hw):
        return pixels
    from subobject.filters import resample

    return resample(pixels, size_hw)


def write_png(path: str | Path, pixels: np.ndarray) -> None:
    """Write ``(H, W, 3)`` uint8 RGB as a PNG that says who wrote it; the file appears complete or not at all."""
    with atomic_path(path) as partial:
        Image.fromarray(pixels).save(partial, compress_level=4, pnginfo=own_png_info())


def own_png_info() -> PngInfo:
    """Return the text of a PNG that says that this package wrote it, under the keyword ``Software`` of the PNG specification."""
    info = PngInfo()
    info.add_text(*_WRITTEN_BY)
    return info


def is_own_png(path: Path) -> bool:
    """Return whether a file is a PNG that this package wrote (overlay, decoded picture, label map); reads its header only."""
    if path.suffix.lower() != ".png":
        return False
    keyword, value = _WRITTEN_BY
    try:
        with path.open("rb") as stream, _open(stream, str(path), MAX_PIXELS) as image:
            return image.info.get(keyword) == value
    except (OSError, ImageError):  # Reading it will say why.
        return False
