"""Export of boundary networks to ONNX, for machines without torch."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from subobject.boundaries.trunks import SameConv
from subobject.onnx_export import write_onnx


class _Logits(nn.Module):
    """Tensors in and out: the fused logits of a model only."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = _symmetric(model)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.model(pixel_values=pixel_values).logits


def _symmetric(model: nn.Module) -> nn.Module:
    """Return an equal copy without convolutions that pad one side more than the other."""
    model = copy.deepcopy(model)
    odd = [name for name, module in model.named_modules() if isinstance(module, SameConv) and module.odd]
    for name in odd:
        parent, _, last = name.rpartition(".")
        convolution = model.get_submodule(name)
        assert isinstance(convolution, SameConv)
        model.get_submodule(parent).register_module(last, convolution.symmetric())
    return model


def export_onnx(model: nn.Module, folder: str | Path) -> Path:
    """Write ``model.onnx``: input ``pixel_values`` ``(B, 3, H, W)``, output ``logits``, float32, all of B, H and W free.

    Weights that float16 holds exactly are stored so.

    Args:
        model: ``BoundaryNet`` or ``SegformerForSemanticSegmentation``; exported as in evaluation mode.
        folder: Where the file goes, beside ``config.json``.

    Returns:
        The file written.
    """
    path = Path(folder) / "model.onnx"
    example = torch.zeros(2, 3, 64, 96, device=next(model.parameters()).device)
    axes = {0: "batch", 2: "height", 3: "width"}
    write_onnx(_Logits(model), path, {"pixel_values": example}, "logits", {"pixel_values": axes, "logits": axes})
    return path
