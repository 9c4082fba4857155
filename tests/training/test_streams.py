"""Streams: who reads what, and what the loader leaves alone."""

import itertools

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from torch.utils.data import DataLoader, IterableDataset  # noqa: E402
from transformers import TrainingArguments  # noqa: E402

from subobject.training.streams import StreamShare, StreamTrainer  # noqa: E402


class Counting:
    """A stream whose image at a position is that position; see ``data.ImageStream``."""

    def images(self, seed, *, start=0, group=1, member=0, members=1):
        for position in itertools.count(start):
            if (position - start) // group % members == member:
                yield position, position


class Positions(IterableDataset):
    """The positions of a share."""

    def __init__(self, share: StreamShare):
        self.share = share

    def __iter__(self):
        return (position for position, _ in self.share.images())


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_take_groups_in_turn_whatever_their_workers(workers):
    for process in (0, 1, 2):
        share = StreamShare(Counting(), 0, group=2, start=6, process=process, processes=3)
        batches = itertools.islice(DataLoader(Positions(share), batch_size=2, num_workers=workers), 4)
        first = [6 + 2 * (process + 3 * turn) for turn in range(4)]
        assert [batch.tolist() for batch in batches] == [[one, one + 1] for one in first]


def test_starting_a_loader_draws_no_random_number(tmp_path):
    """Trainer restores the random state before it starts the loader: a draw there made a resumed run drop other values."""
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none", max_steps=1)
    stream = Positions(StreamShare(Counting(), 0))
    trainer = StreamTrainer(model=torch.nn.Linear(1, 1), args=args, train_dataset=stream, data_collator=torch.tensor)
    before = torch.get_rng_state()
    next(iter(trainer.get_train_dataloader()))
    assert torch.equal(torch.get_rng_state(), before)
