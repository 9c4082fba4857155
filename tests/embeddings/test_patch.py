"""The patch baseline: exact where nothing is lost, the rule at edges, files, and what ships."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from subobject.embeddings.patch import PatchEmbedder
from subobject.images import read_image, resize
from subobject.segments.patches import Patches, Tiles
from subobject.weights import WeightsError


def rotation(size: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0].astype(np.float32)


def whole(patch: int) -> PatchEmbedder:
    """An embedder whose vectors keep everything."""
    values = 3 * patch**2
    return PatchEmbedder(rotation(values), np.full(values, 0.4, np.float32))


@pytest.mark.parametrize("patch", [1, 2, 5])
def test_patches_come_back_when_the_vector_holds_them(patch):
    image = np.random.default_rng(1).integers(0, 256, (10, 15, 3), dtype=np.uint8)
    if patch == 2:
        image = image[:, :14]
    embedder, segmentation = whole(patch), Tiles(side=patch)(image)
    vectors = embedder.embed(image, segmentation)
    assert vectors.shape == (segmentation.num_segments, 3 * patch**2)
    assert np.array_equal(embedder.reconstruct(vectors, segmentation.boxes, image.shape[:2]), image)


def test_the_vector_of_a_patch_is_its_values_in_row_order():
    image = np.random.default_rng(1).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    embedder = PatchEmbedder(np.eye(48, dtype=np.float32), np.zeros(48, np.float32))
    vectors = embedder.embed(image, Tiles(side=4)(image))
    assert np.allclose(vectors[1], image[:, 4:].ravel() / 255)


def test_a_box_of_another_size_is_resized_there_and_back():
    image = np.random.default_rng(2).integers(0, 256, (7, 10, 3), dtype=np.uint8)
    embedder, segmentation = whole(4), Tiles(side=4)(image)
    last = embedder.embed(image, segmentation)[-1:]
    crop = resize(np.ascontiguousarray(image[4:, 8:]), (4, 4)).astype(np.float32) / 255
    assert np.allclose(last, (crop.ravel() - embedder.mean) @ embedder.weight.T, atol=1e-5)
    decoded = embedder.decode_crops(last, segmentation.boxes[-1:])
    assert decoded.sizes.tolist() == [[3, 2]]
    assert np.allclose(decoded.pixels[:, :3], resize(crop, (3, 2)).reshape(-1, 3), atol=1e-5)
    assert np.all(decoded.pixels[:, 3] == 1)


def test_cells_of_a_grid_are_encoded_too(photos):
    image = read_image(photos / "coffee.png")[:120, :150]
    segmentation = Patches()(image, max_segments=16)
    embedder = whole(8)
    picture = embedder.reconstruct(embedder.embed(image, segmentation), segmentation.boxes, image.shape[:2])
    assert np.abs(picture.astype(int) - image).mean() < 12


def test_saving_and_opening_gives_the_same(tmp_path):
    ours = PatchEmbedder(rotation(12)[:5], np.linspace(0, 1, 12, dtype=np.float32))
    ours.save_pretrained(tmp_path)
    again = PatchEmbedder.from_pretrained(tmp_path)
    assert (again.dim, again.patch) == (5, 2)
    assert np.array_equal(again.weight, ours.weight)
    assert np.array_equal(again.mean, ours.mean)


def test_files_that_do_not_fit_are_refused(tmp_path):
    PatchEmbedder(rotation(12), np.zeros(12, np.float32)).save_pretrained(tmp_path)
    save_file({"weight": rotation(12)[:, :9], "mean": np.zeros(12, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"config\.json asks for"):
        PatchEmbedder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(WeightsError, match="does not describe a linear autoencoder"):
        PatchEmbedder.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="p x p pixels"):
        PatchEmbedder(np.zeros((4, 13), np.float32), np.zeros(13, np.float32))


@pytest.mark.parametrize(("release", "patch"), [("patch", 32), ("patch.bsds500-p16", 16)])
def test_the_shipped_components_are_orthonormal_and_ordered(release, patch, photos):
    embedder = PatchEmbedder.from_pretrained(release)
    assert (embedder.dim, embedder.patch) == (256, patch)
    assert np.abs(embedder.weight @ embedder.weight.T - np.eye(256)).max() < 2e-3
    image = read_image(photos / "coffee.png")
    segmentation = Tiles(side=patch)(image)
    vectors = embedder.embed(image, segmentation)
    errors = []
    for kept in (3, 32, 256):
        picture = embedder.reconstruct(vectors[:, :kept], segmentation.boxes, image.shape[:2])
        errors.append(np.mean((picture.astype(float) - image) ** 2))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert -10 * np.log10(errors[2] / 255**2) > 26
