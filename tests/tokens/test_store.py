"""Token stores: round trips, random access, damage, and reading by other libraries."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from subobject import Tokens, TokenStore, TokenWriter
from subobject.tokens.store.quantise import FORMATS

from .conftest import assert_same_tokens, make_tokens


def test_round_trip_is_exact(store_folder):
    store = TokenStore.open(store_folder)
    assert len(store) == 40
    assert store.settings == {"embedder": "random"}
    assert [shard.images for shard in store.manifest.shards] == [18, 18, 4]
    assert store.manifest.tokens == sum(1 + i % 5 for i in range(40))
    for i in (0, 39, 17, 18, 15, 16, 5):  # across shards and row groups, forwards and back
        image_id, tokens = store[i]
        assert image_id == f"{i % 3}/{i}.png"
        assert_same_tokens(tokens, make_tokens(i, segments=1 + i % 5))
    assert store[-1].image_id == store[39].image_id
    with pytest.raises(IndexError, match="image 40 of a store of 40"):
        store[40]


def test_images_are_found_by_name(store_folder):
    store = TokenStore.open(store_folder)
    assert store.index("2/20.png") == 20
    assert "2/20.png" in store
    assert "2/20.jpg" not in store
    assert store.image_ids() == [image_id for image_id, _ in store]
    with pytest.raises(ValueError, match=r"holds no image '2/20\.jpg'"):
        store.index("2/20.jpg")


@settings(max_examples=20)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=40),
    shard_size=st.integers(1, 20),
    dtype=st.sampled_from(sorted(FORMATS)),
)
def test_any_images_in_any_shards_come_back(tmp_path_factory, counts, shard_size, dtype):
    folder = tmp_path_factory.mktemp("store")
    with TokenWriter(folder, {}, dtype=dtype, shard_size=shard_size) as writer:
        for i, count in enumerate(counts):
            writer.write(str(i), make_tokens(i, segments=count))
    store = TokenStore.open(folder)
    assert store.verify() == []
    form = FORMATS[dtype]
    for i, (image_id, tokens) in enumerate(store):
        expected = make_tokens(i, segments=counts[i])
        assert image_id == str(i)
        assert np.array_equal(tokens.vectors, form.decode(*form.encode(expected.vectors)))
        assert np.array_equal(tokens.boxes, expected.boxes)
        assert np.array_equal(tokens.segmentation.labels, expected.segmentation.labels)


def test_label_maps_of_more_than_256_segments_come_back(tmp_path):
    tokens = make_tokens(0, segments=700, size_hw=(2, 800))
    with TokenWriter(tmp_path, {}) as writer:
        writer.write("a", tokens)
    assert_same_tokens(TokenStore.open(tmp_path)[0].tokens, tokens)


def test_too_many_tokens_for_a_label_map_are_refused(tmp_path):
    tokens = make_tokens(0, segments=2**16 + 1, size_hw=(1, 2**16 + 1), dim=1)
    with TokenWriter(tmp_path, {}) as writer, pytest.raises(ValueError, match="a has 65,537 tokens, but a store holds at most"):
        writer.write("a", tokens)


def test_pandas_reads_a_store_as_it_is(store_folder):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(store_folder / "shards")
    assert len(frame) == 40
    row = frame[frame.image_id == "1/7.png"].iloc[0]
    expected = make_tokens(7, segments=3)
    assert np.array_equal(np.stack(row.vectors), expected.vectors)
    assert np.array_equal(np.stack(row.boxes), expected.boxes)
    assert row.areas.tolist() == expected.areas.tolist()
    labels = np.asarray(Image.open(io.BytesIO(row.labels)))
    assert np.array_equal(labels, expected.segmentation.labels)
    assert labels.shape == (row.height, row.width)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("dtype", FORMATS)
def test_datasets_reads_a_store_as_it_is(tmp_path, dtype, streaming, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    with TokenWriter(tmp_path / "store", {}, dtype=dtype, shard_size=2) as writer:
        for i in range(5):
            writer.write(str(i), make_tokens(i))
    files = str(tmp_path / "store" / "shards" / "*.parquet")
    rows = datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=streaming, cache_dir=str(tmp_path / "cache")
    )
    rows = list(rows.with_format("numpy"))
    assert [row["image_id"] for row in rows] == list("01234")
    form = FORMATS[dtype]
    scales = rows[3]["scales"] if form.scaled else None
    vectors = form.decode(rows[3]["vectors"].astype(form.codes), scales)
    assert np.allclose(vectors, make_tokens(3).vectors, rtol=0.07, atol=0.02)


def test_shards_say_how_they_were_made(store_folder):
    header = json.loads(pq.read_schema(store_folder / "shards/00000.parquet").metadata[b"subobject"])
    assert header["settings"] == {"embedder": "random"}
    assert header["dtype"] == "float32"
    assert set(header["versions"]) == {"subobject", "pyarrow"}


def test_pca_keeps_what_fits_and_reads_whole_vectors(tmp_path):
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((2, 8)).astype(np.float32)
    images = []
    for i in range(30):
        vectors = rng.standard_normal((3, 2)).astype(np.float32) @ plane + 5
        images.append(Tokens.from_segmentations([vectors], [make_tokens(i).segmentation]))
    with TokenWriter(tmp_path, {}, pca=2, shard_size=10) as writer:
        for i, tokens in enumerate(images):
            writer.write(str(i), tokens)
    store = TokenStore.open(tmp_path)
    assert pq.read_schema(tmp_path / "shards/00001.parquet").field("vectors").type.value_type.list_size == 2
    for i, tokens in enumerate(images):
        assert np.allclose(store[i].tokens.vectors, tokens.vectors, atol=1e-4)
    (tmp_path / "pca.safetensors").write_bytes(b"x" * (tmp_path / "pca.safetensors").stat().st_size)
    assert "pca.safetensors" in TokenStore.open(tmp_path).verify()[0]
    with pytest.raises(ValueError, match=r"pca\.safetensors is damaged"):
        TokenStore.open(tmp_path)[0]


def test_pca_with_too_few_tokens_is_refused(tmp_path):
    writer = TokenWriter(tmp_path, {}, pca=4)
    writer.write("a", make_tokens(0))
    with pytest.raises(ValueError, match="pca 4 needs 40 tokens to be fitted, but the first shard has 3"):
        writer.close()


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def test_every_flipped_byte_is_found_and_named(store_folder):
    path = store_folder / "shards/00001.parquet"
    good = path.read_bytes()
    expected = {i: make_tokens(i, segments=1 + i % 5) for i in range(40)}
    noticed = 0
    positions = np.random.default_rng(0).choice(len(good), 40, replace=False)
    for position in positions:
        flip(path, position)
        store = TokenStore.open(store_folder)
        assert [str(path) in problem for problem in store.verify()] == [True]
        # Reading notices it too, or it lies where it does no harm.
        try:
            for i, (image_id, tokens) in enumerate(store):
                assert image_id == f"{i % 3}/{i}.png"
                assert_same_tokens(tokens, expected[i])
        except ValueError as error:
            noticed += 1
            assert str(path) in str(error)  # noqa: PT017
        path.write_bytes(good)
    assert noticed > 0.5 * len(positions)


def test_missing_and_truncated_shards_are_named(store_folder):
    path = store_folder / "shards/00002.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    store = TokenStore.open(store_folder)
    assert "shards/00002.parquet is damaged" in store.verify()[0]
    assert store[0].image_id == "0/0.png"
    with pytest.raises(ValueError, match=r"shards/00002\.parquet is damaged \(it has"):
        store[39]
    path.unlink()
    assert "is missing" in store.verify()[0]
    with pytest.raises(ValueError, match=r"shards/00002\.parquet is missing"):
        TokenStore.open(store_folder)[39]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no token store"),
        ("{", "cannot be read"),
        ("[]", "is not the manifest of a token store"),
        ('{"format": "subobject-tokens", "format_version": 1}', "format version 1"),
        ('{"format": "subobject-tokens", "format_version": 2}', "is damaged"),
    ],
)
def test_folders_that_are_no_store_are_named(tmp_path, content, words):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=words) as caught:
        TokenStore.open(tmp_path)
    assert str(tmp_path) in str(caught.value)
