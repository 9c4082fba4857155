"""Training of the patch baseline: the principal components are its optimum, and training finds them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from subobject.data.patch_crops import PatchCrops, PatchOptions  # noqa: E402
from subobject.embeddings.patch import PatchEmbedder  # noqa: E402
from subobject.training.patch import principal_components, train  # noqa: E402
from subobject.training.recipe import load_recipe  # noqa: E402

RECIPE = Path(__file__).parents[2] / "recipes" / "patch_small.yaml"
SETTINGS = ["model={patch: 4, vector: 6}", "trainer.save_steps=1000", "crops.scale=[0.9, 1.0]", "crops.batch=64"]


@pytest.fixture
def photographs(data, photos):
    """Photographs in the place of the noise of the tiny data set."""
    for name, photo in (("1", "coffee"), ("2", "chelsea")):
        with Image.open(photos / f"{photo}.png") as image:
            image.convert("RGB").resize((40, 30)).save(data / f"images/train/{name}.jpg")
    return data


def test_principal_components_equal_those_of_the_singular_value_decomposition():
    rng = np.random.default_rng(0)
    samples = (rng.normal(size=(600, 12)) @ rng.normal(size=(12, 12)) * 0.1 + 0.5).astype(np.float32)
    rows, mean = principal_components([samples[:200], samples[200:]], 5)
    _, _, directions = np.linalg.svd(samples - samples.mean(axis=0), full_matrices=False)
    assert np.allclose(mean, samples.mean(axis=0), atol=1e-5)
    assert np.allclose(np.abs(np.sum(rows * directions[:5], axis=1)), 1, atol=1e-4)
    assert np.all(rows[np.arange(5), np.abs(rows).argmax(axis=1)] > 0)
    assert principal_components([samples], 99)[0].shape == (12, 12)


def error(folder: Path, data: Path) -> float:
    """Mean squared error over patches that were drawn with another seed."""
    embedder = PatchEmbedder.from_pretrained(folder)
    images = [np.asarray(Image.open(path)) for path in sorted((data / "images/train").glob("*.jpg"))]
    patches = PatchCrops(images, 4, 1, PatchOptions(batch=2000, scale=(0.9, 1.0)), seed=9)[0]["patches"] - embedder.mean
    return float(np.mean((patches @ embedder.weight.T @ embedder.weight - patches) ** 2))


def test_training_from_a_random_start_finds_what_the_components_give_at_once(photographs, tmp_path):
    common = [f"data={photographs}", *SETTINGS]
    start = train(load_recipe(RECIPE, [*common, f"output={tmp_path / 'a'}", "trainer.max_steps=1"]))
    more = train(load_recipe(RECIPE, [*common, f"output={tmp_path / 'b'}", "trainer.max_steps=40"]))
    settings = ["crops.start=0", "trainer.learning_rate=0.02", "trainer.max_steps=300", f"output={tmp_path / 'c'}"]
    learned = train(load_recipe(RECIPE, [*common, *settings]))
    best = error(start, photographs)
    assert error(more, photographs) == pytest.approx(best, rel=0.01)
    assert best * 0.98 < error(learned, photographs) < best * 1.1


def test_a_second_batch_size_is_refused(data, tmp_path):
    settings = [f"data={data}", f"output={tmp_path / 'run'}", *SETTINGS, "trainer.per_device_train_batch_size=8"]
    with pytest.raises(ValueError, match=r"set crops\.batch"):
        train(load_recipe(RECIPE, settings))


def test_one_pixel_patches_leave_the_values_beyond_three_at_zero(data, tmp_path):
    settings = ["model={patch: 1, vector: 5}", "trainer.max_steps=1", "crops={batch: 64, start: 4}"]
    folder = train(load_recipe(RECIPE, [f"data={data}", f"output={tmp_path / 'run'}", *SETTINGS, *settings]))
    embedder = PatchEmbedder.from_pretrained(folder)
    assert np.abs(embedder.weight[3:]).max() < 1e-5
    assert np.allclose(embedder.weight[:3].T @ embedder.weight[:3], np.eye(3), atol=1e-4)
