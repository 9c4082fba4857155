"""Export of a SeqAE network to ONNX, for machines without torch."""

from pathlib import Path

import torch
from torch import Tensor, nn

from subobject.embeddings.seqae import SeqAE
from subobject.onnx_export import write_onnx


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
        write_onnx(module, paths[-1], inputs, output, axes)
    model.train(was_training)
    return paths
