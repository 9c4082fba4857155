"""A short training run of a tiny SeqAE on a tiny data set, and its resumption."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from subobject.embeddings.seqae import SeqAE  # noqa: E402
from subobject.training.recipe import load_recipe  # noqa: E402
from subobject.training.seqae import train  # noqa: E402

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
