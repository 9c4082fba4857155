"""The loss of boundary networks, and a short training run of a tiny one on a tiny data set."""

import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from subobject.boundaries.network import BoundaryNet  # noqa: E402
from subobject.training.boundaries import balanced_loss, train  # noqa: E402
from subobject.training.recipe import load_recipe  # noqa: E402

RECIPE = Path(__file__).parents[2] / "recipes" / "boundaries_small.yaml"
SETTINGS = [
    "model={channels: [4, 6], blocks: [1, 1], width: 4}",
    "crops.size=32",
    "trainer.max_steps=4",
    "trainer.save_steps=2",
    "trainer.per_device_train_batch_size=2",
    "trainer.warmup_steps=1",
    "trainer.lr_scheduler_kwargs={num_decay_steps: 2, decay_type: cosine}",
]


def test_the_loss_balances_classes_and_ignores_disputed_pixels():
    logits = torch.tensor([[[[2.0, -1.0, 0.5, 7.0]]]])
    fraction = torch.tensor([[[[1.0, 0.0, 0.0, 0.1]]]])
    loss = balanced_loss(logits, fraction, positive=0.3, negative=0.02, balance=1.1)
    # One positive weighs 2/3, two negatives 1.1 x 1/3 each; the disputed pixel weighs nothing.
    cross = [torch.nn.functional.softplus(value).item() for value in torch.tensor([-2.0, -1.0, 0.5])]
    weights = [2 / 3, 1.1 / 3, 1.1 / 3]
    assert loss.item() == pytest.approx(sum(w * c for w, c in zip(weights, cross, strict=True)) / sum(weights), rel=1e-5)


def test_a_crop_without_a_pixel_that_counts_gives_no_loss():
    assert balanced_loss(torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1), 0.3, 0.02, 1.1).item() == 0


def test_every_parameter_gets_a_gradient():
    config = BoundaryNet.config_class(channels=(4, 6), blocks=(1, 1), width=4)
    model = BoundaryNet(config)
    output = model(torch.randn(2, 3, 16, 16))
    (output.logits.square().sum() + sum(side.square().sum() for side in output.side_logits)).backward()
    assert [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()] == []


def test_training_resumes_where_it_stopped(data, tmp_path):
    output = tmp_path / "run"
    recipe = load_recipe(RECIPE, [f"data={data}", f"output={output}", *SETTINGS])
    final = train(recipe)
    whole = BoundaryNet.from_pretrained(final)
    shutil.rmtree(final)
    shutil.rmtree(output / "checkpoint-4")
    resumed = BoundaryNet.from_pretrained(train(recipe))
    for (name, ours), theirs in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.allclose(ours.float(), theirs.float(), atol=1e-5), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [(["epochs=3"], "unknown key 'epochs'"), (["nonsense"], "has no '='"), (["data=nowhere"], "does not hold the BSDS500 split")],
)
def test_wrong_settings_are_named(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(load_recipe(RECIPE, [f"output={tmp_path}", *settings]))
