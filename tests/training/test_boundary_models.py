"""Factors on the learning rate by the beginning of a parameter's name."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from transformers import TrainingArguments  # noqa: E402

from subobject.boundaries.network import BoundaryNet, BoundaryNetConfig  # noqa: E402
from subobject.training.boundaries import BoundaryTrainer  # noqa: E402


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
