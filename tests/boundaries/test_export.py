"""ONNX files equal the torch networks at any batch, height and width."""

import copy

import numpy as np
import onnx
import pytest
import torch

from subobject.boundaries.export import export_onnx
from subobject.runtime import open_network


@pytest.mark.parametrize("name", ["boundarynet", "segformer"])
def test_export_equals_torch(name, tmp_path, request):
    model = request.getfixturevalue(name)
    path = export_onnx(model, tmp_path / "new")
    assert path == tmp_path / "new" / "model.onnx"
    graph = onnx.load(path).graph
    assert [value.name for value in graph.input] == ["pixel_values"]
    assert [value.name for value in graph.output] == ["logits"]
    assert [value.dim_param for value in graph.input[0].type.tensor_type.shape.dim] == ["batch", "", "height", "width"]
    for runtime in ("onnx", "openvino"):
        network = open_network(onnx=path, torch_factory=None, runtime=runtime, device="cpu", threads=1)
        for shape in ((1, 3, 32, 32), (3, 3, 96, 64), (2, 3, 64, 160)):
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            with torch.inference_mode():
                expected = model(pixel_values=x).logits.numpy()
            (logits,) = network(pixel_values=x.numpy())
            np.testing.assert_allclose(logits, expected, atol=1e-5)
            assert expected.std() > 0.01


def test_weights_that_float16_holds_are_stored_so(boundarynet, tmp_path):
    model = copy.deepcopy(boundarynet)
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    path = export_onnx(model, tmp_path)
    types = {one.name: one.data_type for one in onnx.load(path).graph.initializer}
    assert types["model.side.0.weight.half"] == onnx.TensorProto.FLOAT16
    assert not [name for name, type_ in types.items() if type_ == onnx.TensorProto.FLOAT and name.endswith(("weight", "bias"))]
    x = torch.randn((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(pixel_values=x).logits.numpy()
    for runtime in ("onnx", "openvino"):
        (logits,) = open_network(onnx=path, torch_factory=None, runtime=runtime, device="cpu")(pixel_values=x.numpy())
        np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_export_leaves_the_model_as_it_was(boundarynet, tmp_path):
    boundarynet.train()
    export_onnx(boundarynet, tmp_path)
    assert boundarynet.training
    boundarynet.eval()
