"""Networks that training builds, what they start from, and their learning rates."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from transformers import TrainingArguments  # noqa: E402

from subobject.boundaries.network import BoundaryNet, BoundaryNetConfig  # noqa: E402
from subobject.training.boundaries import BoundaryTrainer  # noqa: E402
from subobject.training.boundary_models import build_model  # noqa: E402

TINY = {"channels": [4, 6], "blocks": [1, 1], "width": 4}


def test_weights_in_half_precision_are_trained_in_single(tmp_path):
    start = BoundaryNet(BoundaryNetConfig(**TINY)).half()
    start.save_pretrained(tmp_path)
    model = build_model(TINY | {"initial": str(tmp_path)})
    for (name, value), expected in zip(model.named_parameters(), start.parameters(), strict=True):
        assert value.dtype == torch.float32, name
        torch.testing.assert_close(value, expected.float(), rtol=0, atol=0)


def test_the_longest_beginning_sets_the_learning_rate_of_every_parameter(tmp_path):
    model = BoundaryNet(BoundaryNetConfig(trunk="efficientnet-lite0", channels=(4,), blocks=(1,), width=4))
    trainer = BoundaryTrainer(
        model,
        TrainingArguments(output_dir=str(tmp_path), learning_rate=0.01, use_cpu=True, report_to="none"),
        loss="balanced",
        side_weight=0.3,
        loss_options={},
        rates={"trunk.": 0.5, "trunk.detail.": 2.0},
    )
    rates = {id(one): group["lr"] for group in trainer.create_optimizer().param_groups for one in group["params"]}
    expected = {"trunk.detail": 0.02, "trunk.stem": 0.005, "trunk.levels": 0.005}
    assert len(rates) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(expected.get(".".join(name.split(".")[:2]), 0.01)), name
