"""Stores that are continued, interrupted, killed and shared."""

import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from subobject import TokenStore, TokenWriter

from .conftest import assert_same_tokens, make_tokens


def test_an_image_is_written_once(tmp_path):
    with TokenWriter(tmp_path, {}, shard_size=2) as writer:
        for name in "abc":
            assert name not in writer
            writer.write(name, make_tokens(0))
            assert name in writer
        for name in "ac":  # one in a shard, one gathered
            with pytest.raises(ValueError, match=f"{name} is in .* already"):
                writer.write(name, make_tokens(0))


def test_a_store_is_continued_with_the_same_settings_only(tmp_path):
    with TokenWriter(tmp_path, {"max_tokens": 64}, dtype="int8") as writer:
        writer.write("a", make_tokens(0))
    for settings, options, words in [
        ({"max_tokens": 32}, {"dtype": "int8"}, "max_tokens = 64, not 32"),
        ({"max_tokens": 64, "threshold": 0.5}, {"dtype": "int8"}, "threshold = null, not 0.5"),
        ({"max_tokens": 64}, {"dtype": "float8"}, 'dtype = "int8", not "float8"'),
        ({"max_tokens": 64}, {"dtype": "int8", "pca": 4}, "pca = null, not 4"),
    ]:
        with pytest.raises(ValueError, match="was made with " + words):
            TokenWriter(tmp_path, settings, **options)
    with TokenWriter(tmp_path, {"max_tokens": 64}, dtype="int8", shard_size=3) as writer:
        assert "a" in writer
        writer.write("b", make_tokens(1))
    assert TokenStore.open(tmp_path).image_ids() == ["a", "b"]


def test_vectors_of_another_size_are_refused_and_cost_nothing(tmp_path):
    with TokenWriter(tmp_path, {}) as writer:
        writer.write("a", make_tokens(0, dim=8))
        with pytest.raises(ValueError, match="b: its vectors have 7 values"):
            writer.write("b", make_tokens(0, dim=7))
        bad = make_tokens(1)
        bad.vectors[0, 0] = np.nan
        with pytest.raises(ValueError, match="c: the vectors hold NaN"):
            writer.write("c", bad)
        writer.write("d", make_tokens(2))
    assert TokenStore.open(tmp_path).image_ids() == ["a", "d"]


def test_an_error_in_the_block_keeps_what_was_written(tmp_path):
    def interrupted():
        with TokenWriter(tmp_path, {}) as writer:
            writer.write("a", make_tokens(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert TokenStore.open(tmp_path).image_ids() == ["a"]


def test_one_writer_at_a_time_has_a_folder(tmp_path):
    with TokenWriter(tmp_path, {}):
        code = f"from subobject import TokenWriter; TokenWriter({str(tmp_path)!r}, {{}})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "another run is writing to" in done.stderr
    TokenWriter(tmp_path, {}).close()


def test_what_a_killed_run_left_is_removed(store_folder):
    (store_folder / "shards" / ".00003.4711.partial.parquet").write_bytes(b"half")
    (store_folder / ".mine.partial").write_text("not ours")
    (store_folder / "shards/00003.parquet").write_bytes(
        (store_folder / "shards/00000.parquet").read_bytes()
    )  # renamed, not listed
    with TokenWriter(store_folder, {"embedder": "random"}) as writer:
        writer.write("new", make_tokens(0))
    assert not list((store_folder / "shards").glob(".*"))
    assert (store_folder / ".mine.partial").exists()
    store = TokenStore.open(store_folder)
    assert store.image_ids() == [f"{i % 3}/{i}.png" for i in range(40)] + ["new"]
    assert {f"shards/{path.name}" for path in (store_folder / "shards").iterdir()} == {
        shard.file for shard in store.manifest.shards
    }


def test_images_of_a_lost_shard_are_done_again(store_folder):
    (store_folder / "shards/00001.parquet").unlink()
    with TokenWriter(store_folder, {"embedder": "random"}) as writer:
        missing = [i for i in range(40) if f"{i % 3}/{i}.png" not in writer]
        assert missing == list(range(18, 36))
        for i in missing:
            writer.write(f"{i % 3}/{i}.png", make_tokens(i, segments=1 + i % 5))
    store = TokenStore.open(store_folder)
    assert len(store) == len(set(store.image_ids())) == 40
    for i in range(40):
        assert_same_tokens(store[store.index(f"{i % 3}/{i}.png")].tokens, make_tokens(i, segments=1 + i % 5))


def test_removing_an_image_gives_up_its_shard(store_folder):
    with TokenWriter(store_folder, {"embedder": "random"}) as writer:
        writer.remove(["2/38.png"])
        assert [i for i in range(40) if f"{i % 3}/{i}.png" not in writer] == [36, 37, 38, 39]
    assert len(TokenStore.open(store_folder)) == 36
    assert not (store_folder / "shards/00002.parquet").exists()


def test_a_store_without_its_manifest_is_left_alone(store_folder):
    (store_folder / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"holds shards but no manifest\.json"):
        TokenWriter(store_folder, {"embedder": "random"})
    assert len(list((store_folder / "shards").iterdir())) == 3


def write_many(folder, delay):
    """Write 30 images in shards of 4, and be killed after ``delay`` of the file system's calls to rename."""
    calls = iter(range(1000))
    rename = os.replace

    def replace_or_die(*names):
        number = next(calls)
        if number == delay:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*names)
        if number + 0.5 == delay:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace_or_die
    with TokenWriter(folder, {}, shard_size=4) as writer:
        for i in range(30):
            if str(i) not in writer:
                writer.write(str(i), make_tokens(i))


@pytest.mark.parametrize("delay", [0, 0.5, 1, 1.5, 2, 2.5, 3, 8.5, 15, 15.5, 16, 16.5])
def test_a_writer_killed_at_any_rename_is_continued(tmp_path, delay):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=write_many, args=(tmp_path, delay))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with TokenWriter(tmp_path, {}, shard_size=4) as writer:
        done = [i for i in range(30) if str(i) in writer]
        assert done == list(range(len(done)))
        assert len(done) >= 4 * ((delay - 1) // 2)  # a manifest, then a shard and a manifest each
        for i in range(len(done), 30):
            writer.write(str(i), make_tokens(i))
    store = TokenStore.open(tmp_path)
    assert store.verify() == []
    assert store.image_ids() == [str(i) for i in range(30)]
    assert not list(tmp_path.rglob(".*"))
    for i in range(30):
        assert_same_tokens(store[i].tokens, make_tokens(i))
