"""Training of segment autoencoders (``subobject train seqae``)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset
from transformers import TrainingArguments

from subobject.data import read_images
from subobject.data.segment_crops import SegmentCrops, SegmentOptions, SegmentPool
from subobject.embeddings.seqae import SeqAE, SeqAEConfig
from subobject.training.recipe import Recipe, options, run, training_arguments
from subobject.training.streams import StreamShare, StreamTrainer


class OwnLossTrainer(StreamTrainer):
    """Minimises the loss that the autoencoder computes itself."""

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor | Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        output = model(**inputs)
        return (output.loss, output) if return_outputs else output.loss


class SegmentStream(IterableDataset):
    """Endless batches of segments, each of some photographs of a stream.

    Args:
        share: The photographs, in groups of ``options.photographs``.
        options: How batches are drawn.
    """

    def __init__(self, share: StreamShare, options: SegmentOptions):
        self.share = share
        self.options = options

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the batches of this process and worker; see ``SegmentPool.draw``."""
        images = self.share.images()
        while True:
            group = [next(images) for _ in range(self.options.photographs)]
            pool = SegmentPool.of((image for _, image in group), self.options)
            if len(pool.segments):
                yield pool.draw(np.random.default_rng((self.share.seed, group[0][0])), self.options)


def collate(items: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Turn the one item of a step, which is a whole batch, into tensors."""
    (item,) = items
    return {name: torch.from_numpy(value) for name, value in item.items()}


def batch_arguments(recipe: Recipe, what: str) -> TrainingArguments:
    """Read the trainer's options of a recipe whose items are whole batches, and seed all randomness of torch.

    Raises:
        ValueError: If the recipe sets a batch size other than 1: ``crops.batch`` is the number of ``what``.
    """
    args = training_arguments(recipe)
    if args.per_device_train_batch_size != 1:
        raise ValueError(f"an item is a batch of {what}: set crops.batch, and trainer.per_device_train_batch_size to 1")
    torch.manual_seed(args.seed)
    return args


def train(recipe: Recipe) -> Path:
    """Train the segment autoencoder of a recipe and return the folder of its final weights.

    Raises:
        ValueError: If the recipe sets a batch size other than 1: ``crops.batch`` is the number of segments.
    """
    args = batch_arguments(recipe, "segments")
    config = SeqAEConfig(**recipe.model)
    crops = options(SegmentOptions, {"context": config.context} | recipe.crops, "crops")
    return run(recipe, args, SeqAE(config), _dataset(recipe, args, crops), collate, OwnLossTrainer)


def _dataset(recipe: Recipe, args: TrainingArguments, crops: SegmentOptions) -> SegmentCrops | SegmentStream:
    images = read_images(recipe.dataset, recipe.data, recipe.splits)
    if isinstance(images, Sequence):
        batches = args.max_steps * args.gradient_accumulation_steps * args.world_size
        return SegmentCrops(images, batches, crops, args.seed)
    return SegmentStream(StreamShare.resumed(images, recipe, args, crops.photographs), crops)
