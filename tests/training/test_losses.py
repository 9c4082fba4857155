"""Losses by hand, gradients, and the models of the table."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from subobject.boundaries.network import BoundaryNet  # noqa: E402
from subobject.training.boundary_models import MODELS, build_model  # noqa: E402
from subobject.training.losses import annotator_loss, balanced_loss, collate_targets, cross_entropy  # noqa: E402

TINY = {
    "boundary_net": {"channels": (4, 6), "blocks": (1, 1), "width": 4},
    "segformer": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "decoder_hidden_size": 8},
}


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


def test_each_annotator_counts_alike_and_is_balanced_by_his_own_lines():
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 4, 5)
    targets = [(torch.rand(3, 4, 5) > 0.7).float(), (torch.rand(1, 4, 5) > 0.3).float()]
    by_image = []
    for image, target in zip(logits, targets, strict=True):
        by_annotator = []
        for drawn in target:
            share = drawn.mean()
            weight = torch.where(drawn > 0, 1 - share, 1.1 * share)
            cross = F.binary_cross_entropy_with_logits(image[0], drawn, reduction="none")
            by_annotator.append((weight * cross).sum() / weight.sum())
        by_image.append(torch.stack(by_annotator).mean())
    batch = collate_targets(targets)
    assert batch.shape == (2, 3, 4, 5)
    assert annotator_loss(logits, batch).item() == pytest.approx(torch.stack(by_image).mean().item(), rel=1e-5)


@pytest.mark.parametrize("loss", [cross_entropy, annotator_loss])
def test_the_mean_over_parts_of_a_batch_is_the_loss_of_the_batch(loss):
    torch.manual_seed(0)
    logits, target = torch.randn(4, 1, 6, 6), (torch.rand(4, 1, 6, 6) > 0.8).float()
    parts = [loss(logits[i : i + 2], target[i : i + 2]) for i in (0, 2)]
    assert torch.stack(parts).mean().item() == pytest.approx(loss(logits, target).item(), rel=1e-5)


def test_every_model_of_the_table_has_a_test():
    assert set(TINY) <= set(MODELS)


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    model = build_model({"type": name, **TINY[name]}).train()
    output = model(torch.randn(2, 3, 64, 64))
    total = output.logits.square().sum() + sum(side.square().sum() for side in getattr(output, "side_logits", ()))
    total.backward()
    assert output.logits.shape[:2] == (2, 1)
    assert [key for key, one in model.named_parameters() if one.grad is None] == []


def test_batch_normalisation_is_trained_frozen_or_shared():
    plain, frozen, shared = (
        build_model({**TINY["boundary_net"], "batch_norm": kind}).train() for kind in ("train", "frozen", "sync")
    )
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    pixels = torch.randn(2, 3, 16, 16)
    plain(pixels)
    frozen(pixels)
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert any(not torch.equal(value, before[name]) for name, value in plain.state_dict().items() if "running" in name)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in shared.modules())
    assert not any(type(module) is nn.BatchNorm2d for module in shared.modules())


def test_weights_to_start_from_are_taken_over(tmp_path):
    start = build_model(TINY["boundary_net"])
    start.save_pretrained(tmp_path)
    again = build_model({**TINY["boundary_net"], "initial": str(tmp_path)})
    assert isinstance(again, BoundaryNet)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in start.state_dict().items())
