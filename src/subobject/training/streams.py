"""Training crops from a data set that is read as a stream, divided among processes and their workers."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import Trainer

from subobject.data import ImageStream
from subobject.data.boundary_crops import CropOptions, decode, draw_crop
from subobject.data.boundary_targets import TargetOptions


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
        )


class CropStream(IterableDataset):
    """Endless random crops; the one at a position is the same on every run with the same seed.

    Micro-batch ``m`` of the sequence goes to process ``m mod P``, so that any number of processes and workers see together what
    one would see, and a run resumes at a position without reading what came before.

    Args:
        stream: The data set.
        options: How crops are drawn.
        target: How annotations become targets.
        seed: Seed of all randomness.
        batch: Images of a micro-batch.
        start: Position to begin at.
        process: Which process this is, from 0.
        processes: How many there are.
    """

    def __init__(
        self,
        stream: ImageStream,
        options: CropOptions,
        target: TargetOptions,
        *,
        seed: int,
        batch: int,
        start: int = 0,
        process: int = 0,
        processes: int = 1,
    ):
        self.stream = stream
        self.options = options
        self.target = target
        self.seed = seed
        self.batch = batch
        self.start = start
        self.process = process
        self.processes = processes

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the crops of this process and worker; see ``boundary_crops.draw_crop``."""
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        images = self.stream.images(
            self.seed,
            start=self.start,
            group=self.batch,
            # A loader takes micro-batches from its workers in turn.
            member=number * self.processes + self.process,
            members=workers * self.processes,
        )
        for position, image in images:
            pixels, annotations = decode(image)
            yield draw_crop(pixels, annotations, np.random.default_rng((self.seed, position)), self.options, self.target)
