"""Training of boundary networks on human annotations (``subobject train boundaries``)."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer

from subobject.boundaries.network import BoundaryNet, BoundaryNetConfig
from subobject.data.boundary_crops import BoundaryCrops, CropOptions
from subobject.data.bsds500 import read_split
from subobject.training.recipe import Recipe, run, training_arguments


def balanced_loss(logits: Tensor, fraction: Tensor, positive: float, negative: float, balance: float) -> Tensor:
    """Class-balanced cross-entropy that ignores pixels on which annotators disagree (HED, arXiv 1504.06375, equation 2).

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


class BoundaryTrainer(Trainer):
    """Sums the loss of the fused map and the weighted losses of the side outputs."""

    def __init__(self, *args: Any, side_weight: float, loss_options: dict[str, float], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.side_weight = side_weight
        self.loss_options = loss_options

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        output = model(inputs["pixel_values"])
        target = inputs["target"]
        loss = balanced_loss(output.logits.float(), target, **self.loss_options)
        for side in output.side_logits:
            loss = loss + self.side_weight * balanced_loss(side.float(), target, **self.loss_options)
        return (loss, output) if return_outputs else loss


def collate(items: list[dict[str, np.ndarray]], mean: list[float], std: list[float]) -> dict[str, Tensor]:
    """Stack crops into ``pixel_values`` ``(B, 3, S, S)`` and ``target`` ``(B, 1, S, S)``, both float32."""
    pixels = torch.from_numpy(np.stack([item["pixels"] for item in items])).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    target = torch.from_numpy(np.stack([item["target"] for item in items]))[:, None]
    return {"pixel_values": pixels.contiguous(memory_format=torch.channels_last), "target": target}


def train(recipe: Recipe) -> Path:
    """Train the boundary network of a recipe and return the folder of its final weights."""
    args = training_arguments(recipe)
    torch.manual_seed(args.seed)
    config = BoundaryNetConfig(**recipe.model)
    model = BoundaryNet(config)
    images = [image for split in recipe.splits for image in read_split(recipe.data, split)]
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    crops = BoundaryCrops(images, args.max_steps * batch, CropOptions(**recipe.crops), args.seed)
    options = {"positive": 0.3, "negative": 0.02, "balance": 1.1, "side_weight": 0.3} | recipe.loss
    trainer = partial(BoundaryTrainer, side_weight=options.pop("side_weight"), loss_options=options)
    return run(recipe, args, model, crops, partial(collate, mean=config.image_mean, std=config.image_std), trainer)
