"""The projector against its definition."""

import pytest

torch = pytest.importorskip("torch")

from subobject.language.projector import PROJECTORS, TokenProjector, fourier_boxes, jitter_boxes  # noqa: E402


def make(kind="linear", box_features="linear"):
    torch.manual_seed(0)
    projector = TokenProjector(5, 8, kind, 7, box_features, 2)
    projector.reset(1.0)
    return projector


def test_published_is_the_sum_of_two_linear_layers():
    projector = make()
    vectors, boxes = torch.randn(3, 5), torch.rand(3, 4)
    expected = vectors @ projector.vector.weight.T + boxes @ projector.box.weight.T + projector.vector.bias + projector.box.bias
    assert torch.allclose(projector(vectors, boxes), expected, atol=1e-6)


@pytest.mark.parametrize("kind", PROJECTORS)
@pytest.mark.parametrize("box_features", ["linear", "fourier"])
def test_every_parameter_gets_a_gradient(kind, box_features):
    projector = make(kind, box_features)
    projector(torch.randn(2, 3, 5), torch.rand(2, 3, 4)).square().sum().backward()
    assert [name for name, one in projector.named_parameters() if one.grad is None or not one.grad.any()] == []


def test_fourier_features_are_sines_and_cosines_of_doubling_frequencies():
    features = fourier_boxes(torch.tensor([0.25, 0.0, 0.5, 1.0]), 2)
    assert features[:6].tolist() == [0.25, 0.0, 0.5, 1.0, 0.5, 0.5]  # x, y, w, h and the centre
    root = 0.5**0.5
    assert torch.allclose(features[6:18], torch.tensor([root, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0]), atol=1e-6)
    assert torch.allclose(features[18:], torch.tensor([root, 0, 1, 1, 0, -1, -1, 1, 0, -1, 0, -1]), atol=1e-6)


def test_standardised_vectors_come_out_as_wide_as_wanted():
    vectors = torch.randn(4000, 5) * torch.tensor([1.0, 10, 100, 0.1, 3]) + 7
    projector = TokenProjector(5, 64, "linear", 7, "linear", 2)
    projector.reset(0.02)
    projector.standardise(vectors)
    out = projector.vector((vectors - projector.mean) / projector.scale)
    assert out.std().item() == pytest.approx(0.02, rel=0.15)
    assert out.mean().abs().item() < 1e-3


def test_a_value_that_never_changes_does_not_explode():
    projector = make()
    projector.standardise(torch.cat([torch.randn(50, 4), torch.ones(50, 1)], dim=1))
    assert projector(torch.randn(2, 5), torch.rand(2, 4)).abs().max() < 1e5


def test_unknown_options_are_named():
    with pytest.raises(ValueError, match="did you mean 'swiglu'"):
        make("swiglue")


def test_noise_is_added_to_standardised_vectors_in_training_only():
    projector = TokenProjector(5, 8, "linear", 7, "linear", 2, noise=0.5)
    projector.reset(1.0)
    vectors, boxes = 100 * torch.randn(4000, 5), torch.zeros(4000, 4)
    projector.standardise(vectors)
    quiet = projector.eval()(vectors, boxes)
    assert torch.equal(quiet, projector(vectors, boxes))
    torch.manual_seed(0)
    difference = projector.train()(vectors, boxes) - quiet
    expected = 0.25 * projector.vector.weight @ projector.vector.weight.T
    assert torch.allclose(difference.T.cov(), expected, atol=0.05 * float(expected.diagonal().max()))


def test_jitter_moves_the_boxes_of_a_row_alike_and_within_its_bounds():
    torch.manual_seed(0)
    boxes = torch.rand(500, 7, 4)
    moved = jitter_boxes(boxes, 0.2)
    factor = moved[..., 2:] / boxes[..., 2:]
    assert torch.allclose(factor, factor[:, :1, :1].expand_as(factor), atol=1e-5)
    shift = moved[..., :2] - ((boxes[..., :2] - 0.5) * factor[:, :1] + 0.5)
    assert torch.allclose(shift, shift[:, :1].expand_as(shift), atol=1e-5)
    for drawn in (factor[:, 0, 0] - 1, shift[:, 0, 0], shift[:, 0, 1]):  # three draws a row, uniform in [-0.2, 0.2]
        assert 0.19 < drawn.abs().max() <= 0.2001
        assert abs(float(drawn.mean())) < 0.02
    assert not torch.equal(shift[:, 0, 0], shift[:, 0, 1])


def test_boxes_jitter_in_training_only():
    projector = TokenProjector(5, 8, "linear", 7, "fourier", 2, jitter=0.1)
    projector.reset(1.0)
    vectors, boxes = torch.randn(3, 4, 5), torch.rand(3, 4, 4)
    quiet = projector.eval()(vectors, boxes)
    assert torch.equal(quiet, projector(vectors, boxes))
    assert not torch.allclose(projector.train()(vectors, boxes), quiet, atol=1e-2)
