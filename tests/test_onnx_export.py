"""ONNX files: weights in float16 where nothing is lost, each once, and the same answers from every runtime."""

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from subobject.onnx_export import share_weights, write_onnx
from subobject.runtime import open_network

HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


@pytest.fixture
def model():
    """A convolution of weights that float16 holds, whose normalisation has statistics that it does not hold."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 40, 1)).eval()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape).half().float()
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    return model


@pytest.fixture
def path(model, tmp_path):
    """The model as ONNX, beside a safetensors file of the same weights."""
    parameters = {name for name, _ in model.named_parameters()}
    values = {name: value.half() if name in parameters else value for name, value in model.state_dict().items()}
    save_file(values, tmp_path / "model.safetensors")
    axes = {0: "batch", 2: "height", 3: "width"}
    write_onnx(model, tmp_path / "model.onnx", {"x": torch.zeros(2, 3, 8, 8)}, "y", {"x": axes, "y": axes})
    return tmp_path / "model.onnx"


def initializers(path):
    return {one.name: one for one in onnx.load(path, load_external_data=False).graph.initializer}


def answers(path):
    """What each runtime makes of a picture."""
    x = np.random.default_rng(0).normal(size=(1, 3, 9, 12)).astype(np.float32)
    networks = (open_network(onnx=path, torch_factory=None, runtime=name, device="cpu") for name in ("onnx", "openvino"))
    return x, [network(x=x)[0] for network in networks]


def test_weights_are_kept_as_they_are_and_in_half_where_nothing_is_lost(model, path):
    kept = initializers(path)
    assert {name: one.data_type for name, one in kept.items()} == {
        "0.weight.half": HALF,
        "0.bias.half": HALF,
        "1.weight.half": HALF,
        "1.bias.half": HALF,
        "1.running_mean": FLOAT,
        "1.running_var": FLOAT,
        "3.weight.half": HALF,
        "3.bias.half": HALF,
    }
    assert np.array_equal(onnx.numpy_helper.to_array(kept["0.weight.half"]), model[0].weight.detach().half().numpy())
    x, found = answers(path)
    with torch.inference_mode():
        expected = model(torch.from_numpy(x)).numpy()
    for one in found:
        np.testing.assert_allclose(one, expected, atol=1e-5)


def test_shared_weights_are_read_from_the_safetensors(path):
    _, before = answers(path)
    share_weights(path, path.with_name("model.safetensors"))
    kept = initializers(path)
    # 216 and 320 weights of two bytes; the others are too few to be shared.
    assert {name for name, one in kept.items() if one.data_location == onnx.TensorProto.EXTERNAL} == {
        "0.weight.half",
        "3.weight.half",
    }
    assert not kept["0.weight.half"].raw_data
    content = path.read_bytes()
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(answers(path)[1], before, strict=True))
    share_weights(path, path.with_name("model.safetensors"))
    assert path.read_bytes() == content


def test_shared_weights_are_read_through_the_links_of_a_cache(path, tmp_path):
    _, before = answers(path)
    share_weights(path, path.with_name("model.safetensors"))
    cache = tmp_path / "cache" / "snapshot"
    cache.mkdir(parents=True)
    for file in (path, path.with_name("model.safetensors")):
        (cache / file.name).symlink_to(file)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(answers(cache / path.name)[1], before, strict=True))


def test_weights_that_the_safetensors_lack_stay(model, path, tmp_path):
    save_file(
        {"0.weight": model[0].weight.detach().half() + 1, "3": model[3].weight.detach().bfloat16()},
        tmp_path / "model.safetensors",
    )
    share_weights(path, tmp_path / "model.safetensors")
    assert all(one.data_location != onnx.TensorProto.EXTERNAL for one in initializers(path).values())
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="both files must lie in one folder"):
        share_weights(path, tmp_path / "other" / "model.safetensors")


def test_weights_of_linear_layers_are_shared_though_the_exporter_turns_them_over(tmp_path):
    torch.manual_seed(0)
    layer = nn.Linear(12, 20).eval()
    layer.weight.data = torch.randn(20, 12).half().float()
    path = tmp_path / "model.onnx"
    write_onnx(layer, path, {"x": torch.zeros(1, 3, 4, 12)}, "y", {"x": {1: "rows"}, "y": {1: "rows"}})
    save_file({"weight": layer.weight.detach().half()}, tmp_path / "model.safetensors")
    x = np.random.default_rng(0).normal(size=(1, 5, 4, 12)).astype(np.float32)
    share_weights(path, tmp_path / "model.safetensors")
    (shared,) = (one for one in initializers(path).values() if one.data_location == onnx.TensorProto.EXTERNAL)
    assert list(shared.dims) == [20, 12]
    content = path.read_bytes()
    share_weights(path, tmp_path / "model.safetensors")
    assert path.read_bytes() == content
    with torch.inference_mode():
        expected = layer(torch.from_numpy(x)).numpy()
    for runtime in ("onnx", "openvino"):
        found = open_network(onnx=path, torch_factory=None, runtime=runtime, device="cpu")(x=x)[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
