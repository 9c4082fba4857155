"""Training of segment autoencoders (``subobject train seqae``)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset, get_worker_info
from transformers import TrainingArguments

from subobject.data import ImageStream, read_images
from subobject.data.segment_crops import SegmentCrops, SegmentOptions, SegmentPool
from subobject.embeddings.seqae import SeqAE, SeqAEConfig
from subobject.training.recipe import Recipe, last_complete_checkpoint, options, run, training_arguments
from subobject.training.streams import StreamTrainer


class OwnLossTrainer(StreamTrainer):
    """Minimises the loss that the autoencoder computes itself."""

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor | Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        output = model(**inputs)
        return (output.loss, output) if return_outputs else output.loss


class SegmentStream(IterableDataset):
    """Endless batches of segments, each of some photographs of a stream; a run resumes without reading what came before.

    Args:
        stream: The data set.
        options: How batches are drawn.
        seed: Seed of all randomness.
        start: Batches of all processes to leave out.
        process: Which process this is, from 0.
        processes: How many there are.
    """

    def __init__(
        self, stream: ImageStream, options: SegmentOptions, seed: int, *, start: int = 0, process: int = 0, processes: int = 1
    ):
        self.stream = stream
        self.options = options
        self.seed = seed
        self.start = start
        self.process = process
        self.processes = processes

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the batches of this process and worker; see ``SegmentPool.draw``."""
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        images = self.stream.images(
            self.seed,
            start=self.start * self.options.photographs,
            group=self.options.photographs,
            member=number * self.processes + self.process,
            members=workers * self.processes,
        )
        while True:
            group = [next(images) for _ in range(self.options.photographs)]
            pool = SegmentPool.of((image for _, image in group), self.options)
            if len(pool.segments):
                yield pool.draw(np.random.default_rng((self.seed, group[0][0])), self.options)


def collate(items: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Turn the one item of a step, which is a whole batch, into tensors."""
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
    crops = options(SegmentOptions, {"context": config.context} | recipe.crops, "crops")
    return run(recipe, args, SeqAE(config), _dataset(recipe, args, crops), collate, OwnLossTrainer)


def _dataset(recipe: Recipe, args: TrainingArguments, crops: SegmentOptions) -> SegmentCrops | SegmentStream:
    images = read_images(recipe.dataset, recipe.data, recipe.splits)
    batches = args.gradient_accumulation_steps * args.world_size
    if isinstance(images, Sequence):
        return SegmentCrops(images, args.max_steps * batches, crops, args.seed)
    # The stream itself starts where the last checkpoint was written: nothing has to be read and thrown away.
    args.ignore_data_skip = True
    _, done = last_complete_checkpoint(recipe)
    return SegmentStream(images, crops, args.seed, start=done * batches, process=args.process_index, processes=args.world_size)
