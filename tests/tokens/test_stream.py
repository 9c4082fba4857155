"""Stores in a DataLoader."""

import pickle

import pytest

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402

from subobject import TokenStore  # noqa: E402
from subobject.tokens.store.stream import pack_samples  # noqa: E402

from .conftest import make_tokens  # noqa: E402

ALL = sorted(f"{i % 3}/{i}.png" for i in range(40))


@pytest.fixture
def store(store_folder) -> TokenStore:
    return TokenStore.open(store_folder)


def names(stream) -> list[str]:
    return [sample["image_id"] for sample in stream]


def test_samples_are_the_images_in_order(store):
    samples = list(store.stream())
    assert names(samples) == store.image_ids()
    expected = make_tokens(7, segments=3)
    assert torch.equal(samples[7]["vectors"], torch.from_numpy(expected.vectors))
    assert torch.equal(samples[7]["boxes"], torch.from_numpy(expected.boxes))
    assert torch.equal(samples[7]["areas"], torch.from_numpy(expected.areas))
    assert samples[7]["size_hw"] == (4, 12)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_ranks_and_workers_share_the_images(store, world_size, workers, shuffle):
    if workers and world_size > 2:
        pytest.skip("more processes show nothing new")
    seen = []
    for rank in range(world_size):
        stream = store.stream(shuffle=shuffle, rank=rank, world_size=world_size, buffer=5)
        part = names(DataLoader(stream, batch_size=None, num_workers=workers))
        assert len(part) == len(stream)
        assert abs(len(part) - 40 / world_size) < 1
        seen += part
    assert sorted(seen) == ALL


def test_ranks_in_step_have_equally_many(store):
    parts = [names(store.stream(rank=rank, world_size=7, shuffle=True, drop_uneven=True)) for rank in range(7)]
    assert [len(part) for part in parts] == [5] * 7
    assert len({name for part in parts for name in part}) == 35


def test_each_epoch_has_its_own_order_and_the_seed_repeats_it(store):
    stream = store.stream(shuffle=True, buffer=8)
    first = names(stream)
    assert first == names(stream)
    assert first != store.image_ids()
    stream.set_epoch(1)
    assert names(stream) != first
    assert sorted(names(stream)) == ALL
    assert names(store.stream(shuffle=True, buffer=8, seed=1)) != first


def test_batches_are_packed(store):
    (batch,) = list(DataLoader(store.stream(rank=0, world_size=10), batch_size=4, collate_fn=pack_samples))
    assert batch["offsets"].tolist() == [0, 1, 3, 6, 10]
    assert batch["vectors"].shape == (10, 8)
    assert batch["boxes"].shape == (10, 4)
    assert torch.equal(batch["vectors"][3:6], torch.from_numpy(make_tokens(2, segments=3).vectors))
    assert batch["image_id"] == ["0/0.png", "1/1.png", "2/2.png", "0/3.png"]


@pytest.mark.parametrize("options", [{"rank": 2, "world_size": 2}, {"rank": -1}, {"buffer": 0}])
def test_impossible_options_are_refused(store, options):
    with pytest.raises(ValueError, match="use "):
        store.stream(**options)


def test_a_copy_of_a_store_opens_its_own_files(store):
    assert store[3].image_id == "0/3.png"
    copy = pickle.loads(pickle.dumps(store))
    assert names(copy.stream()) == names(store.stream())
