"""Training of segment autoencoders (``subobject train seqae``)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Trainer

from subobject.data.bsds500 import read_split
from subobject.data.segment_crops import SegmentCrops, SegmentOptions
from subobject.embeddings.seqae import SeqAE, SeqAEConfig
from subobject.training.recipe import Recipe, run, training_arguments


class SeqAETrainer(Trainer):
    """Minimises the loss that the autoencoder computes itself."""

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor | Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        output = model(**inputs)
        return (output.loss, output) if return_outputs else output.loss


def collate(items: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Turn the one item of a step, which is a whole batch of segments, into tensors."""
    (item,) = items
    return {name: torch.from_numpy(value) for name, value in item.items()}


def train(recipe: Recipe) -> Path:
    """Train the segment autoencoder of a recipe and return the folder of its final weights.

    Raises:
        ValueError: If the recipe sets a batch size other than 1: ``crops.batch`` is the number of segments.
    """
    args = training_arguments(recipe)
    if args.per_device_train_batch_size != 1:
        raise ValueError("an item is a batch of segments: set crops.batch, and trainer.per_device_train_batch_size to 1")
    torch.manual_seed(args.seed)
    config = SeqAEConfig(**recipe.model)
    options = SegmentOptions(**({"context": config.context} | recipe.crops))
    images = [image for split in recipe.splits for image in read_split(recipe.data, split)]
    length = args.max_steps * args.gradient_accumulation_steps * args.world_size
    crops = SegmentCrops(images, length, options, args.seed)
    return run(recipe, args, SeqAE(config), crops, collate, SeqAETrainer)
