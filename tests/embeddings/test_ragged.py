"""Bin-packing, and rows of segments against one at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from subobject.embeddings import ragged  # noqa: E402
from subobject.embeddings.autoencoder import SeqAEEmbedder  # noqa: E402
from subobject.embeddings.blocks import Attention, block_diagonal  # noqa: E402
from subobject.embeddings.export import Encoder, RowEncoder  # noqa: E402
from subobject.embeddings.seqae import SeqAE, SeqAEConfig  # noqa: E402
from subobject.embeddings.sequence import PackedSegments, select  # noqa: E402
from subobject.runtime import open_network  # noqa: E402

SMALL = {
    "context": 64,
    "width": 20,
    "hidden": 40,
    "heads": 2,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "queries": 4,
    "vector": 16,
}
MODELS = {
    "parallel": SMALL | {"decoder": "parallel", "cosines": 4},
    "published": SMALL | {"decoder": "autoregressive", "cosines": 0, "learned_positions": True},
}


def some_segments(count: int, seed: int = 0) -> PackedSegments:
    rng = np.random.default_rng(seed)
    packed = PackedSegments.zeros(rng.integers(1, 9, size=(count, 2)).astype(np.int32))
    packed.pixels[:] = rng.random(packed.pixels.shape)
    packed.pixels[:, 3] = rng.random(len(packed.pixels)) < 0.8
    packed.pixels[packed.offsets[:-1], 3] = 1
    packed.pixels[:, :3] *= packed.pixels[:, 3:]
    return packed


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 120))
def test_bins_hold_everything_once_and_waste_little(lengths, capacity):
    lengths = np.array(lengths, dtype=np.int64)
    groups = ragged.bins(lengths, capacity)
    assert sorted(int(i) for group in groups for i in group) == list(range(len(lengths)))
    sums = [int(lengths[group].sum()) for group in groups]
    assert all(total <= capacity for total in sums)
    least = -(-int(lengths.sum()) // capacity)
    assert len(groups) <= 11 / 9 * least + 1 or sorted(sums)[0] + sorted(sums)[1] > capacity
    # First fit: what opens a bin did not fit into any earlier one.
    for later in range(1, len(groups)):
        for earlier in groups[:later]:
            before = earlier[lengths[earlier] >= lengths[groups[later][0]]]
            assert lengths[before].sum() + lengths[groups[later][0]] > capacity


def test_a_sequence_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="a sequence of 9 positions does not fit into a row of 8"):
        ragged.bins(np.array([3, 9]), 8)


def test_the_layout_of_a_row():
    packed = some_segments(3)
    laid = ragged.lay_out(packed, [np.array([2, 0]), np.array([1])], queries=2)
    assert laid["pixels"].shape[0] == 2
    assert laid["pixels"].shape[1] % 128 == 0
    assert laid["sizes"].tolist() == packed.sizes[[2, 0, 1]].tolist()
    first = len(packed[2])
    assert np.array_equal(laid["pixels"][0, :first], packed[2])
    assert np.array_equal(laid["pixels"][0, first + 2 : first + 2 + len(packed[0])], packed[0])
    assert laid["segment"][0, : first + 3].tolist() == [0] * (first + 2) + [1]
    assert laid["index"][0, : first + 3].tolist() == [*range(first + 2), 0]
    assert laid["segment"][1, 0] == 2
    assert laid["segment"][1, -1] == -1


@pytest.mark.parametrize("flex", [False, True])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_block_diagonal_attention_equals_one_block_at_a_time(flex):
    torch.manual_seed(0)
    attention = Attention(16, 2).double()
    owner = torch.tensor([[0] * 3 + [1] * 6 + [2] + [-1] * 4, [3] * 14])
    x = torch.randn(2, 14, 16, dtype=torch.float64)
    with torch.no_grad():
        together = attention(x, x, block_diagonal(owner, flex=flex))
        for row, start, end in [(0, 0, 3), (0, 3, 9), (0, 9, 10), (1, 0, 14)]:
            part = x[row : row + 1, start:end]
            assert torch.allclose(together[row, start:end], attention(part, part)[0], atol=1e-12)


@pytest.mark.parametrize("flex", [False, True])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_rows_give_the_vectors_of_one_at_a_time(name, flex, monkeypatch):
    """Up to the order of additions; and bit for bit the same whatever the other segments of a row hold."""
    torch.manual_seed(0)
    model = SeqAE(SeqAEConfig(**MODELS[name])).eval()
    monkeypatch.setattr("subobject.embeddings.seqae.block_diagonal", lambda owner: block_diagonal(owner, flex=flex))
    packed = some_segments(11)
    groups = ragged.bins(packed.sizes.prod(axis=1).astype(np.int64) + 4, 150)
    assert 2 < len(groups) < 8
    laid = {key: torch.from_numpy(value) for key, value in ragged.lay_out(packed, groups, 4).items()}
    with torch.no_grad():
        together = model.encode_rows(**laid)
        for row, member in enumerate(np.concatenate(groups)):
            sizes = torch.from_numpy(packed.sizes[[member]].astype(np.int64))
            alone = model.encode(torch.from_numpy(packed[member])[None], sizes)[0]
            assert torch.allclose(together[row], alone, atol=3e-6)
        changed = laid | {"pixels": torch.where(laid["segment"][..., None] == 1, 1 - laid["pixels"], laid["pixels"])}
        again = model.encode_rows(**changed)
    others = torch.arange(11) != 1
    assert torch.equal(again[others], together[others])
    assert not torch.allclose(again[1], together[1], atol=1e-3)


def test_an_embedder_with_a_row_encoder_equals_one_with_buckets(monkeypatch):
    torch.manual_seed(0)
    model = SeqAE(SeqAEConfig(**MODELS["parallel"]))
    encoder, rows = (open_network(onnx=None, torch_factory=lambda part=part: part(model)) for part in (Encoder, RowEncoder))
    monkeypatch.setattr(ragged, "ROW_LENGTH", 200)
    monkeypatch.setattr(ragged, "ROWS", 2)
    packed = some_segments(40, seed=1)
    ours = SeqAEEmbedder(encoder, encoder, 16, 64, None, row_encoder=rows, queries=4)
    theirs = SeqAEEmbedder(encoder, encoder, 16, 64, None)
    assert len(ragged.rows(packed.sizes, 4, 64)) > 1
    assert np.abs(ours.encode(packed) - theirs.encode(packed)).max() < 1e-5
    assert np.abs(ours.encode(select(packed, np.array([5]))) - theirs.encode(packed)[5]).max() < 1e-5
