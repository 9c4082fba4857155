"""Writing networks as ONNX files with every weight kept once and in as few bytes as it needs; for machines without torch."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from subobject.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor, nn

_OPSET = 17
_SMALLEST_SHARED = 128
"""Bytes below which a weight stays in the ONNX file: runtimes look at small constants before they read other files."""
_SAFETENSORS_TYPES = {"F16": onnx.TensorProto.FLOAT16, "F32": onnx.TensorProto.FLOAT}


def write_onnx(
    module: "nn.Module", path: Path, inputs: "dict[str, Tensor]", output: str, axes: dict[str, dict[int, str]]
) -> None:
    """Write a network as ONNX.

    Weights that float16 holds exactly are stored so. For that none is folded into another, as batch normalisation into a
    convolution; runtimes do this themselves when they open the file, and run neither slower nor otherwise.

    Args:
        module: Takes the inputs in their order and returns one tensor; it is written as in evaluation mode, in which it stays.
        path: The file.
        inputs: An example of each input, by name.
        output: Name of the output.
        axes: Names of the free axes of inputs and output.
    """
    import torch

    with atomic_path(path) as partial:
        with warnings.catch_warnings():
            # The tracer notes each size taken from a shape, and that a newer exporter exists; the newer one fixes sizes.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                str(partial),
                dynamo=False,
                opset_version=_OPSET,
                training=torch.onnx.TrainingMode.PRESERVE,  # Otherwise the exporter folds.
                input_names=list(inputs),
                output_names=[output],
                dynamic_axes=axes,
            )
        model = onnx.load(partial)
        _store_in_half(model.graph)
        onnx.save(model, partial)


def share_weights(path: Path, safetensors: Path) -> None:
    """Let an ONNX file read the weights that a safetensors file beside it holds as well, instead of keeping them twice.

    ONNX names such weights by file and place ("external data"). The two files belong together from then on.

    Args:
        path: The ONNX file; changed in place.
        safetensors: A file in the same folder. Weights that it lacks stay where they are.

    Raises:
        ValueError: If the files lie in different folders.
    """
    if path.parent != safetensors.parent:
        raise ValueError(f"{path} cannot read weights of {safetensors}: both files must lie in one folder")
    places = _places(safetensors)
    model = onnx.load(path)
    transpositions = []
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) < _SMALLEST_SHARED:
            continue
        place = places.get((tensor.data_type, tensor.raw_data))
        if place is None and len(tensor.dims) == 2:
            # The exporter turns the weights of linear layers over; runtimes do the same when they open the file.
            place = places.get((tensor.data_type, np.ascontiguousarray(onnx.numpy_helper.to_array(tensor).T).tobytes()))
            if place is not None:
                transpositions.append(onnx.helper.make_node("Transpose", [f"{tensor.name}.shared"], [tensor.name], perm=[1, 0]))
                tensor.name = f"{tensor.name}.shared"
                tensor.dims[:] = tensor.dims[::-1]
        if place is None:
            continue
        values = {"location": safetensors.name, "offset": place, "length": len(tensor.raw_data)}
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in values.items():
            tensor.external_data.add(key=key, value=str(value))
    _put_first(model.graph, transpositions)
    with atomic_path(path) as partial:
        partial.write_bytes(model.SerializeToString())


def _store_in_half(graph: onnx.GraphProto) -> None:
    """Store weights in float16 where nothing is lost; runtimes turn them back into float32 when they open the file."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values, name = onnx.numpy_helper.to_array(tensor), tensor.name
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    _put_first(graph, casts)


def _put_first(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    nodes = [*nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _places(safetensors: Path) -> dict[tuple[int, bytes], int]:
    """Return where in a safetensors file the weights of each type and content begin.

    The file is the length of its header, 8 bytes little-endian, the header, a JSON object, and the bytes of all tensors.
    """
    content = safetensors.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    header.pop("__metadata__", None)
    places: dict[tuple[int, bytes], int] = {}
    for entry in header.values():
        first, end = (begin + offset for offset in entry["data_offsets"])
        if entry["dtype"] in _SAFETENSORS_TYPES:
            places[_SAFETENSORS_TYPES[entry["dtype"]], content[first:end]] = first
    return places
