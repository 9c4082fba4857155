"""From tokens to the width of a language model: a projection of the vector plus one of the token box.

As published (arXiv 2402.14327, section 3.3) both are linear layers, and their results are added. Options: a two-layer MLP or a
SwiGLU (arXiv 2002.05202) for the vector, and Fourier features of the box.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from subobject.registry import lookup


class MLP(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        self.leave = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(F.gelu(self.enter(x)))


class SwiGLU(nn.Module):
    """Linear, gated by the SiLU of another linear, then linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.gate = nn.Linear(inputs, hidden)
        self.enter = nn.Linear(inputs, hidden)
        self.leave = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(F.silu(self.gate(x)) * self.enter(x))


PROJECTORS: dict[str, Callable[[int, int, int], nn.Linear | MLP | SwiGLU]] = {
    "linear": lambda inputs, hidden, outputs: nn.Linear(inputs, outputs),
    "mlp": MLP,
    "swiglu": SwiGLU,
}
"""What a vector goes through, by name; made with (inputs, hidden, outputs)."""


def raw_boxes(boxes: Tensor, frequencies: int) -> Tensor:
    """Return token boxes ``(..., 4)`` as they are."""
    return boxes


def fourier_boxes(boxes: Tensor, frequencies: int) -> Tensor:
    """Return box, centre, and sines and cosines of these values at ``pi, 2 pi, 4 pi ...``, ``(..., 6 + 12 x frequencies)``.

    The centre follows from the box, but its sines are no linear function of theirs.
    """
    values = torch.cat([boxes, boxes[..., :2] + boxes[..., 2:] / 2], dim=-1)
    turns = math.pi * 2.0 ** torch.arange(frequencies, device=boxes.device, dtype=torch.float32)
    angles = (values.float()[..., None] * turns).flatten(-2)
    return torch.cat([values, angles.sin().to(boxes.dtype), angles.cos().to(boxes.dtype)], dim=-1)


BOX_FEATURES: dict[str, Callable[[Tensor, int], Tensor]] = {"linear": raw_boxes, "fourier": fourier_boxes}
"""What the linear layer of the box reads, by name."""


def jitter_boxes(boxes: Tensor, most: float) -> Tensor:
    """Shift and scale the token boxes of each row at random, all boxes of a row alike, so that they keep their order.

    Args:
        boxes: Token boxes ``(x, y, w, h)``, ``(..., N, 4)``.
        most: Largest shift along x and along y, as a share of the image, and largest relative change of size, below 1.

    Returns:
        Boxes of the same shape, scaled about the image's centre; some may reach beyond the image.
    """
    draws = most * (2 * torch.rand((*boxes.shape[:-2], 1, 3), device=boxes.device, dtype=boxes.dtype) - 1)
    factor, shift = 1 + draws[..., :1], draws[..., 1:]
    corner, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(corner - 0.5) * factor + 0.5 + shift, size * factor], dim=-1)


class TokenProjector(nn.Module):
    """Vectors and token boxes of any leading shape to the width of the language model.

    The buffers ``mean`` and ``scale`` ``(D,)`` standardise vectors; at first they do nothing.

    Args:
        vector_size: Size of a vector, ``D``.
        width: Width of the language model.
        kind: Member of ``PROJECTORS``.
        hidden: Hidden width of an MLP or SwiGLU.
        box_features: Member of ``BOX_FEATURES``.
        frequencies: Frequencies of the Fourier features.
        noise: Standard deviation of the noise that standardised vectors get in training, against learning them by heart.
        jitter: How far the token boxes of a row are shifted and scaled in training, to the same end; see ``jitter_boxes``.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        vector_size: int,
        width: int,
        kind: str,
        hidden: int,
        box_features: str,
        frequencies: int,
        noise: float = 0.0,
        jitter: float = 0.0,
    ):
        super().__init__()
        self.features = lookup(BOX_FEATURES, box_features, "box feature")
        self.frequencies = frequencies
        self.noise = noise
        self.jitter = jitter
        self.vector = lookup(PROJECTORS, kind, "projector")(vector_size, hidden, width)
        self.box = nn.Linear(self.features(torch.zeros(4, device="cpu"), frequencies).shape[-1], width)
        self.register_buffer("mean", torch.zeros(vector_size))
        self.register_buffer("scale", torch.ones(vector_size))

    @torch.no_grad()
    def reset(self, std: float) -> None:
        """Draw the weights so that standardised vectors come out with the given standard deviation, as do boxes."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)
        self.box.weight.mul_(std)
        (self.vector if isinstance(self.vector, nn.Linear) else self.vector.leave).weight.mul_(std)

    @torch.no_grad()
    def standardise(self, vectors: Tensor) -> None:
        """Subtract the mean of these vectors ``(N, D)`` and divide by the deviation of each value, from now on.

        The layer that follows could learn as much; the fixed step makes learning rates mean the same for every embedder.
        """
        self.mean.copy_(vectors.mean(dim=0))
        self.scale.copy_(vectors.std(dim=0).clamp(min=1e-3 * float(vectors.std()) + 1e-8))

    def forward(self, vectors: Tensor, boxes: Tensor) -> Tensor:
        dtype = self.box.weight.dtype
        standardised = ((vectors - self.mean) / self.scale).to(dtype)
        if self.training and self.noise:
            standardised = standardised + self.noise * torch.randn_like(standardised)
        if self.training and self.jitter:
            boxes = jitter_boxes(boxes, self.jitter)
        return self.vector(standardised) + self.box(self.features(boxes.to(dtype), self.frequencies))
