"""A short training run of a tiny SeqAE on a tiny data set, and its resumption."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from subobject.data import read_images  # noqa: E402
from subobject.data.segment_crops import SegmentOptions  # noqa: E402
from subobject.embeddings.autoencoder import SeqAEEmbedder  # noqa: E402
from subobject.embeddings.seqae import SeqAE, SeqAEConfig  # noqa: E402
from subobject.training.recipe import load_recipe  # noqa: E402
from subobject.training.seqae import SegmentStream, train  # noqa: E402
from subobject.training.streams import StreamShare  # noqa: E402
from tests.data import layouts  # noqa: E402

PAPER = Path(__file__).parents[2] / "recipes" / "seqae_paper.yaml"
TINY = [
    *(f"model.{name}={value}" for name, value in {"width": 24, "hidden": 32, "heads": 2, "vector": 24, "queries": 4}.items()),
    *("model.encoder_layers=1", "model.decoder_layers=1", "crops.pool=2", "trainer.bf16=false", "trainer.use_cpu=true"),
    "trainer.dataloader_num_workers=0",
]
RECIPE = Path(__file__).parents[2] / "recipes" / "seqae_small.yaml"
SETTINGS = [
    "model={context: 36, width: 20, hidden: 40, heads: 2, encoder_layers: 1, decoder_layers: 1, queries: 4, vector: 16}",
    "model.cosines=4",
    "crops={batch: 4, annotators: 1}",
    "trainer.max_steps=4",
    "trainer.save_steps=2",
    "trainer.logging_steps=1",
    "trainer.warmup_steps=1",
    "trainer.lr_scheduler_kwargs={num_decay_steps: 2, decay_type: cosine}",
]


def test_training_resumes_where_it_stopped(data, tmp_path):
    output = tmp_path / "run"
    recipe = load_recipe(RECIPE, [f"data={data}", f"output={output}", *SETTINGS])
    final = train(recipe)
    whole = SeqAE.from_pretrained(final)
    losses = [row["loss"] for row in json.loads((output / "trainer_state.json").read_text())["log_history"] if "loss" in row]
    assert len(losses) == 4
    assert all(np.isfinite(float(loss)) for loss in losses)

    shutil.rmtree(final)
    shutil.rmtree(output / "checkpoint-4")
    resumed = SeqAE.from_pretrained(train(recipe))
    for (name, ours), theirs in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6), name


def test_a_second_batch_size_is_refused(data, tmp_path):
    settings = [f"data={data}", f"output={tmp_path / 'run'}", *SETTINGS, "trainer.per_device_train_batch_size=8"]
    with pytest.raises(ValueError, match=r"set crops\.batch"):
        train(load_recipe(RECIPE, settings))


@pytest.fixture
def archives(tmp_path) -> Path:
    layouts.write_tar(tmp_path / "sa1b" / "sa_000000.tar", layouts.sa1b_members(range(1, 9)))
    return tmp_path / "sa1b"


def test_the_published_recipe_trains_on_archives_of_sa1b(archives, tmp_path):
    """Two steps at a tiny width; everything else as published."""
    recipe = load_recipe(PAPER, [f"data={archives}", f"output={tmp_path / 'run'}", *TINY, "trainer.max_steps=2"])
    model = SeqAE.from_pretrained(train(recipe))
    assert (model.config.decoder, model.config.learned_positions, model.config.context) == ("autoregressive", True, 1024)
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text())
    assert state["global_step"] == 2


def test_the_published_recipe_has_the_published_shape():
    recipe = load_recipe(PAPER)
    config, published = SeqAEConfig(**recipe.model).to_dict(), SeqAEConfig.published().to_dict()
    assert {key: config[key] for key in recipe.model} == {key: published[key] for key in recipe.model}
    assert (recipe.crops["batch"], recipe.trainer["learning_rate"], recipe.dataset) == (16, 1e-5, "sa1b")


def test_a_stream_is_divided_among_readers_and_resumes(archives):
    stream = read_images("sa1b", archives, ["train"])
    drawing = SegmentOptions(batch=3, photographs=2, pool=2, context=64)

    def take(number: int, **place) -> list[bytes]:
        batches = iter(SegmentStream(StreamShare(stream, 0, group=2, **place), drawing))
        return [next(batches)["pixels"].tobytes() for _ in range(number)]

    everything = take(6)
    assert len(set(everything)) == 6
    assert take(3, process=0, processes=2) == everything[0::2]
    assert take(3, process=1, processes=2) == everything[1::2]
    assert take(2, start=4 * 2) == everything[4:]


def test_nested_vectors_decode_after_training(data, tmp_path):
    settings = [f"data={data}", f"output={tmp_path / 'run'}", *SETTINGS, "model.prefixes=[2, 4, 8]"]
    folder = train(load_recipe(RECIPE, settings))
    embedder = SeqAEEmbedder.from_pretrained(folder)
    sizes = np.int32([[3, 4], [5, 2]])
    vectors = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    decoded = {size: embedder.decode(vectors[:, :size], sizes).pixels for size in (2, 4, 8, 16)}
    assert all(one.shape == (22, 4) for one in decoded.values())
    assert not np.allclose(decoded[2], decoded[16], atol=1e-4)
    with pytest.raises(ValueError, match="have 17 values, but this network makes 16"):
        embedder.decode(np.zeros((2, 17), np.float32), sizes)
