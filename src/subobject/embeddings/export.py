"""Export of a SeqAE network to ONNX, for machines without torch."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from subobject.embeddings.seqae import SeqAE
from subobject.files import atomic_path

_OPSET = 17


class Encoder(nn.Module):
    """The encoder alone: tensors in and out."""

    def __init__(self, model: SeqAE):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, sizes: Tensor) -> Tensor:
        return self.model.encode(pixels, sizes)


class RowEncoder(nn.Module):
    """The encoder of segments laid behind each other in rows."""

    def __init__(self, model: SeqAE):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, index: Tensor, segment: Tensor, sizes: Tensor) -> Tensor:
        return self.model.encode_rows(pixels, index, segment, sizes)


class Decoder(nn.Module):
    """The decoder alone: tensors in and out; ``index`` ``(L,)`` is ``0 .. L - 1``."""

    def __init__(self, model: SeqAE):
        super().__init__()
        self.model = model

    def forward(self, vectors: Tensor, sizes: Tensor, index: Tensor) -> Tensor:
        if self.model.config.decoder == "autoregressive":
            return self.model.decode(vectors, sizes)
        return self.model.finish(self.model.decode_parallel(vectors, sizes, index))


def export_onnx(model: SeqAE, folder: str | Path) -> list[Path]:
    """Write ``encoder.onnx`` and ``decoder.onnx``, with batch and length free.

    The encoder maps ``pixels`` ``(B, L, 4)`` float32 and ``sizes`` ``(B, 2)`` int64 to ``vectors`` ``(B, D)``; the decoder maps
    ``vectors``, ``sizes`` and ``index`` ``(L,)`` int64 (``0 .. L - 1``) to ``pixels`` in [0, 1], ``(B, L, 4)``. An
    autoregressive decoder, which is a loop, has no ONNX file and runs in torch. Weights that float16 holds exactly are stored so.

    Args:
        model: The network; exported as in evaluation mode.
        folder: Where the files go, beside ``config.json``.

    Returns:
        The files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    was_training = model.training
    device = model.device
    pixels = torch.rand(2, 12, 4, device=device)
    sizes = torch.tensor([[3, 4], [5, 2]], device=device)
    vectors = torch.zeros(2, model.config.vector, device=device)
    index = torch.arange(12, device=device)
    sequence, rows = {0: "batch", 1: "length"}, {0: "batch"}
    jobs: list[tuple[nn.Module, str, dict[str, Tensor], str, dict[str, dict[int, str]]]] = [
        (
            Encoder(model),
            "encoder",
            {"pixels": pixels, "sizes": sizes},
            "vectors",
            {"pixels": sequence, "sizes": rows, "vectors": rows},
        )
    ]
    if model.config.decoder == "parallel":
        axes = {"vectors": rows, "sizes": rows, "index": {0: "length"}, "pixels": sequence}
        jobs.append((Decoder(model), "decoder", {"vectors": vectors, "sizes": sizes, "index": index}, "pixels", axes))
    paths = []
    for module, name, inputs, output, axes in jobs:
        paths.append(folder / f"{name}.onnx")
        with warnings.catch_warnings():
            # The tracer notes each size taken from a shape, and that a newer exporter exists; the newer one fixes sizes.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                str(paths[-1]),
                dynamo=False,
                opset_version=_OPSET,
                input_names=list(inputs),
                output_names=[output],
                dynamic_axes=axes,
            )
        _store_in_half(paths[-1])
    model.train(was_training)
    return paths


def _store_in_half(path: Path) -> None:
    """Store weights in float16 where nothing is lost; runtimes turn them back into float32 when they open the file."""
    model = onnx.load(path)
    nodes = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values, name = onnx.numpy_helper.to_array(tensor), tensor.name
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
            nodes.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with atomic_path(path) as partial:
        onnx.save(model, partial)
