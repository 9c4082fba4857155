"""Training from a data set that is read as a stream, divided among processes and their workers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import Trainer, TrainingArguments

from subobject.data import AnnotatedImage, ImageStream
from subobject.data.boundary_crops import CropOptions, decode, draw_crop
from subobject.data.boundary_targets import TargetOptions
from subobject.training.recipe import Recipe, last_complete_checkpoint


class StreamTrainer(Trainer):
    """Loads a stream as it is, since it divides itself among processes; anything else as ``Trainer`` does."""

    def get_train_dataloader(self) -> DataLoader:
        """Return the loader of the training data."""
        if not isinstance(self.train_dataset, IterableDataset):
            return super().get_train_dataloader()
        workers = self.args.dataloader_num_workers
        return DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            collate_fn=self.data_collator,
            num_workers=workers,
            prefetch_factor=self.args.dataloader_prefetch_factor if workers else None,
            pin_memory=self.args.dataloader_pin_memory,
            # A loader draws a seed when it starts, on resumption too: of its own, or dropout would not go on where it stopped.
            generator=torch.Generator(),
        )


@dataclass(frozen=True)
class StreamShare:
    """The part of an endless stream of images that one process reads; the workers of its loader divide it again.

    The sequence is cut into groups. Group ``m`` goes to process ``m mod P``, so that any number of processes and workers see
    together what one would see, and a run resumes at a position without reading what came before.

    Attributes:
        stream: The data set.
        seed: Seed of the order, and of all that is drawn from the images.
        group: Images a group: those of a micro-batch.
        start: Position to begin at.
        process: Which process this is, from 0.
        processes: How many there are.
    """

    stream: ImageStream
    seed: int
    group: int = 1
    start: int = 0
    process: int = 0
    processes: int = 1

    @classmethod
    def resumed(cls, stream: ImageStream, recipe: Recipe, args: TrainingArguments, group: int) -> "StreamShare":
        """Return the share of this process in a run, from where its last checkpoint was written.

        The stream itself starts there, so that the trainer is told not to read and throw away what came before.
        """
        args.ignore_data_skip = True
        _, done = last_complete_checkpoint(recipe)
        start = done * args.gradient_accumulation_steps * args.world_size * group
        return cls(stream, args.seed, group, start, args.process_index, args.world_size)

    def images(self) -> Iterator[tuple[int, AnnotatedImage]]:
        """Yield position and image for this process and, inside of a loader, this worker."""
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return self.stream.images(
            self.seed,
            start=self.start,
            group=self.group,
            # A loader takes micro-batches from its workers in turn.
            member=number * self.processes + self.process,
            members=workers * self.processes,
        )


class CropStream(IterableDataset):
    """Endless random crops; the one at a position is the same on every run with the same seed.

    Args:
        share: The images, in groups of a micro-batch.
        options: How crops are drawn.
        target: How annotations become targets.
    """

    def __init__(self, share: StreamShare, options: CropOptions, target: TargetOptions):
        self.share = share
        self.options = options
        self.target = target

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the crops of this process and worker; see ``boundary_crops.draw_crop``."""
        for position, image in self.share.images():
            rng = np.random.default_rng((self.share.seed, position))
            yield draw_crop(*decode(image), rng, self.options, self.target)
