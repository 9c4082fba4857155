"""Reading, finding and preparing pictures; every file is written by the test that reads it."""

import contextlib
import io
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from subobject import images
from subobject.images import FoundImage, ImageError, find_images, normalise, output_stems, read_image, resize, write_png

RGB = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff", ".bmp", ".ppm", ".webp"])
def test_lossless_formats_are_exact(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", Image.fromarray(RGB), **({"lossless": True} if suffix == ".webp" else {}))
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, RGB)
    np.testing.assert_array_equal(read_image(str(path)), RGB)
    np.testing.assert_array_equal(read_image(path.read_bytes()), RGB)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".jfif", ".jpe", ".avif", ".jp2"])
def test_lossy_formats_are_close(tmp_path, suffix):
    format_ = {".avif": "AVIF", ".jp2": "JPEG2000"}.get(suffix, "JPEG")
    flat = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    path = save(tmp_path / f"a{suffix}", Image.fromarray(flat), format=format_)
    assert np.abs(read_image(path).astype(int) - flat).max() <= 4


def test_mpo_is_a_jpeg_and_no_animation(tmp_path):
    flat = Image.new("RGB", (8, 8), "red")
    path = save(tmp_path / "a.jpg", flat, format="MPO", save_all=True, append_images=[flat])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (8, 8, 3)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_shapes(tmp_path, size_hw):
    path = save(tmp_path / "a.png", Image.new("RGB", size_hw[::-1], (1, 2, 3)))
    assert read_image(path).shape == (*size_hw, 3)


def test_pixel_modes():
    grey = Image.fromarray(RGB[..., 0])
    np.testing.assert_array_equal(read_image(grey), np.repeat(RGB[..., :1], 3, 2))
    palette = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(read_image(palette), np.asarray(palette.convert("RGB")))
    assert set(read_image(grey.convert("1")).ravel()) <= {0, 255}
    cmyk = Image.fromarray(RGB).convert("CMYK")
    np.testing.assert_array_equal(read_image(cmyk), np.asarray(cmyk.convert("RGB")))


def test_alpha_is_composited_on_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = (0, 255, 128)
    expected = [[[255, 255, 255], [200, 0, 0], [227, 127, 127]]]
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", Image.fromarray(rgba))), expected)
    np.testing.assert_array_equal(read_image(rgba), expected)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    path = save(tmp_path / "p.png", palette, transparency=0)
    np.testing.assert_array_equal(read_image(path), [[[255, 255, 255], [40, 50, 60]]])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bits_are_scaled_to_8(tmp_path, suffix):
    values = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
    path = save(tmp_path / f"a{suffix}", Image.fromarray(values))
    expected = np.repeat(np.array([[[0], [0], [1], [128], [255]]], np.uint8), 3, 2)
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_image(values), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, tmp_path):
    image = Image.fromarray(RGB)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", image, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(read_image(path), expected)
    tiff = save(tmp_path / "a.tif", image, exif=exif)
    np.testing.assert_array_equal(read_image(tiff), expected)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".tif", ".webp"])
def test_several_pictures_warn_and_give_the_first(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    options = {".png": {"default_image": False}, ".webp": {"lossless": True}}.get(suffix, {})
    path = save(tmp_path / f"a{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    with pytest.warns(UserWarning, match="several pictures"):
        pixels = read_image(path)
    np.testing.assert_array_equal(pixels, np.broadcast_to((255, 0, 0), (6, 8, 3)))


def test_tensors():
    chw = torch.from_numpy(RGB.copy()).permute(2, 0, 1)
    np.testing.assert_array_equal(read_image(chw), RGB)
    np.testing.assert_array_equal(read_image(chw.float() / 255), RGB)
    np.testing.assert_array_equal(read_image(torch.from_numpy(RGB.copy())), RGB)
    np.testing.assert_array_equal(read_image((chw[:1].to(torch.bfloat16) * 0).requires_grad_()), np.zeros((7, 9, 3)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 2, 3), np.nan), "NaN"),
        (np.full((2, 2, 3), 255.0), r"in \[0, 1\]"),
        (np.zeros((3, 20, 20), np.uint8), "expected shape"),
        (np.zeros((2, 2, 2), np.uint8), "expected shape"),
        (np.zeros((0, 2, 3), np.uint8), "expected shape"),
        (np.zeros(5, np.uint8), "expected shape"),
        (np.zeros((2, 2, 3), np.int64), "got int64"),
        (np.zeros((2, 2, 3), bool), "got bool"),
    ],
)
def test_bad_arrays_are_refused(array, message):
    with pytest.raises(ImageError, match=message):
        read_image(array)


def test_float_arrays():
    np.testing.assert_array_equal(read_image(RGB / 255.0), RGB)
    with pytest.raises(ImageError, match="cannot read an image from list"):
        read_image([1, 2])


def broken(tmp_path: Path, kind: str) -> tuple[Path, str]:
    """Write a file that cannot be read; returns it and what the message must say."""
    path = tmp_path / "a.png"
    good = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(good, "PNG")
    data = good.getvalue()
    if kind == "missing":
        return path, "does not exist"
    if kind == "directory":
        return tmp_path, "is a folder"
    if kind == "null":
        return Path("a\0.png"), "cannot be opened"
    if kind == "misnamed":
        path = tmp_path / "a.jpg"
        path.write_bytes(data)
        return path, "holds a PNG image: rename it to a.png"
    if kind == "text":
        path = tmp_path / "a.jpg"
        path.write_text("hello, world, this is a text")
        return path, "is not an image"
    if kind == "mode":
        path = tmp_path / "a.tif"
        Image.fromarray(np.ones((4, 4), np.float32)).save(path)
        return path, "unsupported pixel mode 'F'"
    if kind == "32 bits":
        path = tmp_path / "a.tif"
        Image.fromarray(np.full((4, 4), 70000, np.int32)).save(path)
        return path, "beyond 16 bits"
    parts = {"empty": (b"", "zero bytes"), "truncated": (data[:3000], "truncated"), "header": (data[:20], "damaged|truncated")}
    parts["garbage"] = (data[:40] + b"\x55" * 200 + data[240:], "damaged|truncated")
    content, message = parts[kind]
    path.write_bytes(content)
    return path, message


@pytest.mark.parametrize(
    "kind",
    ["missing", "directory", "misnamed", "text", "mode", "32 bits", "empty", "truncated", "header", "garbage", "null"],
)
def test_broken_files_give_one_sentence_that_names_them(tmp_path, kind):
    path, message = broken(tmp_path, kind)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format_", ["JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "AVIF", "JPEG2000"])
def test_a_file_cut_anywhere_is_read_or_refused(tmp_path, format_):
    buffer = io.BytesIO()
    Image.fromarray(RGB.repeat(8, 0).repeat(8, 1)).save(buffer, format_)
    data = buffer.getvalue()
    for length in range(1, len(data), max(1, len(data) // 40)):
        path = tmp_path / "a.unknown"
        path.write_bytes(data[:length])
        with contextlib.suppress(ImageError):
            assert read_image(path).dtype == np.uint8


def test_permission(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", Image.fromarray(RGB))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"a\.png cannot be opened: permission denied"):
        read_image(path)


def test_pixel_limit_is_read_from_the_header(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    with pytest.raises(ImageError, match="9 x 7 = 63 pixels, more than the limit of 62"):
        read_image(path, max_pixels=62)
    with pytest.raises(ImageError, match="more than the limit"):
        read_image(Image.fromarray(RGB), max_pixels=62)
    assert read_image(path, max_pixels=63).shape == (7, 9, 3)
    # A header that promises 60,000 x 60,000 pixels, and no data: a decompression bomb to Pillow too.
    huge = tmp_path / "huge.ppm"
    huge.write_bytes(b"P6 60000 60000 255\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="3,600,000,000 pixels"):
            read_image(huge)


def test_pillow_limit_neither_leaks_nor_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (7, 9, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_write_png_round_trip(tmp_path):
    write_png(tmp_path / "new" / "a.png", RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png"), RGB)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "sub/c.tiff", "sub/deep/a.jpg", "notes.txt", ".hidden.png", ".thumbs/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found: list[FoundImage]) -> list[str]:
    return [image.relative.as_posix() for image in found]


def test_find_images_in_folders(tree):
    assert names(find_images([tree])) == ["a.JPG", "b.png", "sub/c.tiff", "sub/deep/a.jpg"]
    assert names(find_images([tree / "sub"])) == ["c.tiff", "deep/a.jpg"]
    assert names(find_images([tree / "b.png", tree, str(tree / "b.png")])) == ["b.png", "a.JPG", "sub/c.tiff", "sub/deep/a.jpg"]
    assert names(find_images([tree / "notes.txt"])) == ["notes.txt"]


def test_find_images_by_glob(tree):
    assert names(find_images([f"{tree}/**/*.jpg"])) == ["sub/deep/a.jpg"]
    assert names(find_images([f"{tree}/*"])) == ["a.JPG", "b.png", "sub/c.tiff", "sub/deep/a.jpg"]
    strange = tree / "[1].png"
    strange.touch()
    assert names(find_images([strange])) == ["[1].png"]


def test_find_images_errors(tree):
    (tree / "empty").mkdir()
    for source, message in [("nothing", "does not exist"), ("empty", "holds no image"), ("*.bmp", "no image matches")]:
        with pytest.raises(ImageError, match=message) as caught:
            find_images([tree / source])
        assert source in str(caught.value)


def test_outputs_never_share_a_name(tmp_path):
    found = [FoundImage(tmp_path / name, Path(name)) for name in ("a.jpg", "a.png", "s/b.png")]
    assert [stem.as_posix() for stem in output_stems(found)] == ["a.jpg", "a.png", "s/b"]
    twins = [FoundImage(tmp_path / folder / "a.png", Path("a.png")) for folder in "xy"]
    with pytest.raises(ImageError, match=re.escape(f"{twins[0].path} and {twins[1].path} would both")):
        output_stems(twins)


def test_normalise():
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    expected = ((RGB / 255.0 - mean) / std).transpose(2, 0, 1)[None]
    values = normalise(RGB, mean, std)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_resize_keeps_half_pixel_alignment():
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    np.testing.assert_allclose(resize(ramp, (4, 4))[0], [0.5, 2.5, 4.5, 6.5])
    expected = torch.nn.functional.interpolate(torch.from_numpy(ramp)[None, None], size=(20, 24), mode="bilinear")[0, 0]
    np.testing.assert_allclose(resize(ramp, (20, 24)), expected, atol=1e-5)
    assert resize(RGB, (7, 9)) is RGB
    assert resize(RGB, (1, 1)).shape == (1, 1, 3)


def test_every_suffix_belongs_to_one_format():
    suffixes = [suffix for group in images.SUFFIXES.values() for suffix in group]
    assert len(suffixes) == len(set(suffixes))
    registered = Image.registered_extensions()
    for name, group in images.SUFFIXES.items():
        assert all(images._VARIANTS.get(registered[suffix], registered[suffix]) == name for suffix in group)
