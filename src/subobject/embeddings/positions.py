"""Positions of the pixels of a segment, as Fourier features and as a cosine basis; all from crop sizes and cell numbers."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

RELATIVE_WAVES = 16
ABSOLUTE_WAVES = 8
NUM_FEATURES = 4 * RELATIVE_WAVES + 4 * ABSOLUTE_WAVES + 2
RELAXATION = 1.8
"""Length of the steps of a masked fit; below 2, where they converge since masks are at most 1."""
OPPONENT_AXES = torch.tensor([[1.0, 1, 1, 0], [1, 0, -1, 0], [1, -2, 1, 0], [0, 0, 0, 1]])
"""Brightness, red against blue, purple against green, and the mask; rows, not normalised."""
OPPONENT_SPREAD = torch.tensor([1.0, 0.15, 0.05, 0.5])
"""About how the variances of these compare in photographs; only their order among waves counts."""


def rows_and_columns(sizes: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return row and column centres in cells, ``(B, L)``, and heights and widths, ``(B, 1)``, all float32."""
    height, width = sizes[:, :1], sizes[:, 1:]
    row = torch.div(index, width, rounding_mode="floor")
    column = index - row * width
    return row.float() + 0.5, column.float() + 0.5, height.float(), width.float()


def position_features(sizes: Tensor, index: Tensor) -> Tensor:
    """Compute Fourier features of relative and absolute positions, and the logarithms of the sizes.

    Args:
        sizes: Crop sizes ``(h, w)``, ``(B, 2)`` int64.
        index: Cells, ``(L,)``, or ``(B, L)`` where they differ, int64.

    Returns:
        ``(B, L, NUM_FEATURES)`` float32 in [-1, 1] but for the last two, which are ``log(h) / 3`` and ``log(w) / 3``.
    """
    row, column, height, width = rows_and_columns(sizes, index)
    relative = math.pi * torch.arange(1, RELATIVE_WAVES + 1, device=sizes.device)
    # Wavelengths of 3 to 384 cells, doubling.
    absolute = 2 * math.pi / (3 * 2.0 ** torch.arange(ABSOLUTE_WAVES, device=sizes.device))
    angles = torch.cat(
        [
            (row / height)[..., None] * relative,
            (column / width)[..., None] * relative,
            row[..., None] * absolute,
            column[..., None] * absolute,
        ],
        dim=2,
    )
    logs = torch.stack([torch.log(height).expand_as(row), torch.log(width).expand_as(row)], dim=2) / 3
    return torch.cat([angles.sin(), angles.cos(), logs], dim=2)


def cosine_basis(sizes: Tensor, index: Tensor, cosines: int) -> Tensor:
    """Compute the orthonormal two-dimensional cosine basis of each crop, ``(B, L, cosines ** 2)`` float32.

    Waves shorter than two cells, which a crop cannot hold, are zero. Constant cells have value 1.
    """
    row, column, height, width = rows_and_columns(sizes, index)
    wave = torch.arange(cosines, device=sizes.device)

    def axis(position: Tensor, side: Tensor) -> Tensor:
        scale = torch.where(wave == 0, 1.0, math.sqrt(2)) * (wave < side)
        return torch.cos(math.pi * wave * (position / side)[..., None]) * scale[:, None]

    return (axis(row, height)[..., :, None] * axis(column, width)[..., None, :]).flatten(2)


def opponent_waves(cosines: int) -> Tensor:
    """Return an orthonormal basis of the space of coefficients, what matters most in photographs first.

    Neighbouring pixels and channels are alike: a wave's power falls with the square of its frequency, and brightness varies more
    than hue (the reasons for which JPEG drops the waves it drops).

    Returns:
        Rows over ``(wave, channel)`` as ``analyse`` flattens them, ``(4 * K * K, 4 * K * K)`` float32.
    """
    wave = torch.arange(cosines)
    frequency = (wave[:, None] ** 2 + wave**2).flatten()
    variance = OPPONENT_SPREAD / (frequency[:, None] + 0.25)
    axes = OPPONENT_AXES / OPPONENT_AXES.norm(dim=1, keepdim=True)
    return torch.block_diag(*[axes] * cosines**2)[variance.flatten().argsort(descending=True, stable=True)]


def analyse(inputs: Tensor, sizes: Tensor, cosines: int, steps: int = 1) -> tuple[Tensor, Tensor]:
    """Split segments into their mean colour, cosine coefficients and what a Transformer should see.

    Colours outside the mask are free. The plain transform makes them the mean colour, which costs waves for the outline; more
    steps approach the least-squares fit inside the mask (Landweber's iteration, *Amer. J. Math.* 73, 1951, overrelaxed).

    Args:
        inputs: Normalised RGB, zero outside the mask, and the mask, ``(B, L, 4)``; zero behind the end.
        sizes: Crop sizes ``(h, w)``, ``(B, 2)`` int64.
        cosines: Coefficients an axis, ``K``.
        steps: Steps of the fit, at least 1; 1 is the plain transform.

    Returns:
        The inputs with the mean colour subtracted inside the mask, ``(B, L, 4)``; and the coefficients ``(B, K * K, 4)`` of the
        cosine basis of that, in which the first one of each colour is the mean.
    """
    index = torch.arange(inputs.shape[1], device=inputs.device)
    mask = inputs[..., 3:]
    mean = (inputs[..., :3] * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1e-6)
    residual = torch.cat([(inputs[..., :3] - mean) * mask, mask], dim=2)
    basis = cosine_basis(sizes, index, cosines)
    area = sizes.prod(dim=1)[:, None, None]
    coefficients = basis.transpose(1, 2) @ residual / area
    offset = F.pad(mean, (0, 1))
    first = coefficients[:, :1] * torch.tensor([0.0, 0.0, 0.0, 1.0], device=inputs.device)
    coefficients = torch.cat([first, coefficients[:, 1:]], dim=1)
    for _ in range(steps - 1):
        missing = residual[..., :3] - mask * (basis @ coefficients[..., :3])
        coefficients = coefficients + RELAXATION * F.pad(basis.transpose(1, 2) @ missing / area, (0, 1))
    return residual, torch.cat([coefficients[:, :1] + offset, coefficients[:, 1:]], dim=1)
