"""Losses of boundary networks, by the name that a recipe gives them.

All take logits ``(B, 1, H, W)`` float32 and targets ``(B, A, H, W)`` float32 in [0, 1], -1 where an image has fewer annotators,
and return a scalar. All but ``balanced_loss`` are means over images of equal size, so that the mean over processes or accumulated
micro-batches is the loss of the whole batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def balanced_loss(
    logits: Tensor, fraction: Tensor, positive: float = 0.3, negative: float = 0.02, balance: float = 1.1
) -> Tensor:
    """Class-balanced cross-entropy that ignores pixels on which annotators disagree (HED, arXiv 1504.06375, equation 2).

    Classes are counted over the micro-batch of a process.

    Args:
        logits: ``(B, 1, H, W)`` float.
        fraction: Share of annotators who drew a boundary, ``(B, 1, H, W)`` float in [0, 1].
        positive: Share above which a pixel is a boundary.
        negative: Share below which it is none; pixels between the two do not count.
        balance: Weight of the negatives beside the balancing one.

    Returns:
        The mean over the pixels that count, by their weights; a scalar.
    """
    is_positive = (fraction > positive).to(logits.dtype)
    is_negative = (fraction < negative).to(logits.dtype)
    num_positive, num_negative = is_positive.sum(), is_negative.sum()
    total = (num_positive + num_negative).clamp(min=1)
    weight = is_positive * (num_negative / total) + is_negative * (balance * num_positive / total)
    loss = F.binary_cross_entropy_with_logits(logits, is_positive, weight=weight, reduction="sum")
    return loss / weight.sum().clamp(min=1e-6)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy with a hard or soft target, ``(B, 1, H, W)``; the loss of DirectSAM and EPOC."""
    return F.binary_cross_entropy_with_logits(logits, target)


def annotator_loss(logits: Tensor, target: Tensor, balance: float = 1.1) -> Tensor:
    """Class-balanced cross-entropy against each annotator's own map, the mean over annotators and then over images.

    Each map is balanced by its own share of boundary pixels, so that who draws little counts as much as who draws a lot.

    Args:
        logits: ``(B, 1, H, W)`` float.
        target: ``(B, A, H, W)`` float, 0 or 1; -1 throughout the map of an annotator whom the image does not have.
        balance: Weight of the negatives beside the balancing one.
    """
    present = (target.amin(dim=(2, 3)) >= 0).to(logits.dtype)
    positive = target.clamp(min=0)
    share = positive.mean(dim=(2, 3), keepdim=True)
    weight = positive * (1 - share) + (1 - positive) * (balance * share)
    loss = F.binary_cross_entropy_with_logits(logits.expand_as(positive), positive, weight=weight, reduction="none")
    by_map = loss.sum(dim=(2, 3)) / weight.sum(dim=(2, 3)).clamp(min=1e-6)
    return ((by_map * present).sum(dim=1) / present.sum(dim=1)).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "balanced": balanced_loss,
    "cross_entropy": cross_entropy,
    "annotators": annotator_loss,
}


def collate_targets(targets: list[Tensor]) -> Tensor:
    """Stack targets ``(A_i, H, W)`` to ``(B, max A, H, W)``, filled with -1."""
    most = max(len(target) for target in targets)
    return torch.stack([F.pad(target, (0, 0, 0, 0, 0, most - len(target)), value=-1.0) for target in targets])
