"""A store as a ``torch.utils.data.IterableDataset``: shards in random order, split over ranks and workers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from subobject.tokens.store.reader import TokenStore
from subobject.tokens.store.rows import TokenRow

Sample = dict[str, Any]


class TokenStream(IterableDataset):
    """Images of a store, each exactly once an epoch over all ranks and workers; ``TokenStore.stream`` makes one.

    The images, shard after shard, are one sequence; every rank has an equal part of it, every worker of a rank an equal part of
    that, so a consumer reads whole shards from front to back, and the split is even whatever the number of shards. Shuffling puts
    the shards in random order and draws from a buffer of images.

    A sample is a dict: ``image_id``, ``vectors`` ``(N, D)`` float32, ``boxes`` ``(N, 4)`` float32 (token boxes in [0, 1]),
    ``areas`` ``(N,)`` int64, ``size_hw``. Label maps are not decoded.

    Args:
        store: The store.
        shuffle: Whether the order is random; ``set_epoch`` gives each epoch another one.
        seed: Seed of the order; the same on all ranks.
        buffer: Images from which the next one is drawn.
        rank: Number of this process; None asks ``torch.distributed`` where it is initialised, else 0.
        world_size: Number of processes; None as above, else 1.
        drop_uneven: Leave out fewer images than there are ranks, so that all ranks have equally many, as training in step needs.

    Raises:
        ValueError: If ``rank`` is not in ``[0, world_size)`` or ``buffer`` is below 1.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        shuffle: bool = False,
        seed: int = 0,
        buffer: int = 1024,
        rank: int | None = None,
        world_size: int | None = None,
        drop_uneven: bool = False,
    ):
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if distributed else 0
        self.world_size = world_size if world_size is not None else torch.distributed.get_world_size() if distributed else 1
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank is {self.rank}, but there are {self.world_size}: use 0 to {self.world_size - 1}")
        if buffer < 1:
            raise ValueError(f"buffer is {buffer}: use 1 or more")
        self.store = store
        self.shuffle = shuffle
        self.seed = seed
        self.buffer = buffer
        self.drop_uneven = drop_uneven
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next epoch; call it on all ranks, before the workers start."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of images of this rank."""
        first, last = self._part()
        return last - first

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        first, last = self._part()
        begin, end = (first + (last - first) * k // workers for k in (number, number + 1))
        rows = self._rows(begin, end)
        if self.shuffle:
            rows = _shuffled(rows, self.buffer, np.random.default_rng([self.seed, self.epoch, self.rank, number]))
        return map(_sample, rows)

    def _part(self) -> tuple[int, int]:
        total = len(self.store)
        if self.drop_uneven:
            total -= total % self.world_size
        return total * self.rank // self.world_size, total * (self.rank + 1) // self.world_size

    def _rows(self, begin: int, end: int) -> Iterator[TokenRow]:
        """Read the images ``begin .. end - 1`` of the sequence in this epoch's order of shards."""
        counts = np.array([shard.images for shard in self.store.manifest.shards], dtype=np.int64)
        starts = np.cumsum(counts) - counts
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(counts)) if self.shuffle else range(len(counts))
        position = 0
        for shard in order:
            low, high = max(begin - position, 0), min(end - position, int(counts[shard]))
            if low < high:
                yield from self.store.rows(int(starts[shard]) + low, int(starts[shard]) + high)
            position += int(counts[shard])


def pack_samples(samples: list[Sample]) -> Sample:
    """Pack the samples of a batch; the ``collate_fn`` of a DataLoader.

    Returns:
        ``vectors`` ``(sum N, D)``, ``boxes`` ``(sum N, 4)`` and ``areas`` ``(sum N,)`` of all images, ``offsets`` ``(B + 1,)``
        int64, where each image starts, and the lists ``image_id`` and ``size_hw``.
    """
    packed: Sample = {name: torch.cat([sample[name] for sample in samples]) for name in ("vectors", "boxes", "areas")}
    counts = torch.tensor([0, *(len(sample["areas"]) for sample in samples)])
    packed["offsets"] = torch.cumsum(counts, dim=0)
    return packed | {name: [sample[name] for sample in samples] for name in ("image_id", "size_hw")}


def _sample(row: TokenRow) -> Sample:
    arrays = {name: torch.from_numpy(getattr(row, name)) for name in ("vectors", "boxes", "areas")}
    return {"image_id": row.image_id, "size_hw": row.size_hw, **arrays}


def _shuffled(rows: Iterator[TokenRow], size: int, generator: np.random.Generator) -> Iterator[TokenRow]:
    """Draw at random from a buffer that is refilled in order."""
    held: list[TokenRow] = []
    for row in rows:
        if len(held) < size:
            held.append(row)
            continue
        place = int(generator.integers(size))
        yield held[place]
        held[place] = row
    yield from (held[i] for i in generator.permutation(len(held)))
