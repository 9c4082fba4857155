"""Networks that training builds, what they start from, and their learning rates."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.torch import save_file  # noqa: E402
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


def test_what_the_weights_to_start_from_lack_starts_as_in_a_new_network(tmp_path):
    start = BoundaryNet(BoundaryNetConfig(**TINY))
    save_file({f"trunk.{name}": value for name, value in start.trunk.state_dict().items()}, tmp_path / "model.safetensors")
    start.config.save_pretrained(tmp_path)
    torch.use_deterministic_algorithms(True)  # memory that is not initialised then holds NaN
    try:
        model = build_model(TINY | {"initial": str(tmp_path)})
    finally:
        torch.use_deterministic_algorithms(False)
    for name, value in model.state_dict().items():
        assert value.isfinite().all(), name
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        assert norm.running_mean.eq(0).all()
        assert norm.running_var.eq(1).all()
        assert norm.num_batches_tracked == 0
    assert model.fuse.weight.eq(0.5).all()


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
