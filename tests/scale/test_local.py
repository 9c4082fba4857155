"""Many images into a store: workers, kills, changes and leftovers, as a user of the command line meets them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from subobject import TokenStore
from subobject.cli.main import app
from subobject.images import FoundImage
from subobject.scale.local import process

LIGHT = ["--segmenter", "patches", "--embedder", "mean-colour", "--max-tokens", "9"]


def make_photos(folder: Path, count: int) -> list[str]:
    """Write small random photographs in three folders; returns their names."""
    rng = np.random.default_rng(0)
    names = [f"{i % 3}/{i:03}.png" for i in range(count)]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
    return sorted(names)


def command(folder: Path, *options: object) -> list[str]:
    return ["tokenize", str(folder / "in"), "-o", str(folder / "out"), *LIGHT, *map(str, options)]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "subobject", *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def wait_for_shards(folder: Path, count: int) -> None:
    deadline = time.time() + 120
    while len(list(folder.glob("out/shards/[0-9]*.parquet"))) < count:
        assert time.time() < deadline, "no shard was written"
        time.sleep(0.01)


def test_several_workers_write_what_one_writes(tmp_path):
    names = make_photos(tmp_path / "in", 23)
    (tmp_path / "in" / "0" / "000.png").write_bytes(b"broken")
    results = [
        run(
            *command(tmp_path, "--workers", workers, "--shard-size", 5)[:3],
            tmp_path / str(workers),
            *LIGHT,
            "--workers",
            workers,
            "--shard-size",
            5,
            "--json",
        )
        for workers in (1, 2)
    ]
    assert [result.exit_code for result in results] == [1, 1], results[1].output
    one, two = (TokenStore.open(tmp_path / str(workers)) for workers in (1, 2))
    assert one.image_ids() == two.image_ids() == names[1:]
    for ours, theirs in zip(one, two, strict=True):
        assert np.array_equal(ours.tokens.vectors, theirs.tokens.vectors)
    lines = [[json.loads(line)["image"] for line in result.stdout.splitlines()] for result in results]
    assert lines[0] == lines[1]
    assert [failure["image"] for failure in two.manifest.failed] == ["0/000.png"]
    assert "is not an image" in two.manifest.failed[0]["error"]


@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_at_a_random_moment_is_completed_without_duplicates(tmp_path, seed):
    names = make_photos(tmp_path / "in", 120)
    arguments = command(tmp_path, "--workers", 2, "--shard-size", 7)
    process = start(arguments)
    wait_for_shards(tmp_path, 2)
    time.sleep(random.Random(seed).uniform(0, 0.15))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate(timeout=30)  # The workers hold the pipes: this ends when they have followed their parent.
    before = TokenStore.open(tmp_path / "out")
    assert before.verify() == []
    resumed = run(*command(tmp_path, "--shard-size", 7))
    assert resumed.exit_code == 0, resumed.output
    store = TokenStore.open(tmp_path / "out")
    assert store.verify() == []
    assert len(store) == len(names)
    assert sorted(store.image_ids()) == names
    assert f"{len(before)} done by an earlier run" in resumed.stderr
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")]
    for image_id, tokens in store:
        pixels = np.asarray(Image.open(tmp_path / "in" / image_id))
        assert tokens.segmentation.size_hw == pixels.shape[:2]
        expected = pixels[tokens.segmentation.labels == 0].mean(axis=0)
        assert np.allclose(tokens.vectors[0][:3] * 255, expected, atol=0.01)


def test_an_interrupted_run_keeps_what_it_has_and_resumes(tmp_path):
    names = make_photos(tmp_path / "in", 150)
    process = start(command(tmp_path, "--shard-size", 4))
    wait_for_shards(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert "continues the run" in text
    store = TokenStore.open(tmp_path / "out")
    assert 8 <= len(store) < 150
    assert run(*command(tmp_path)).exit_code == 0
    assert sorted(TokenStore.open(tmp_path / "out").image_ids()) == names


def test_a_second_run_does_only_what_is_missing_or_changed(tmp_path):
    names = make_photos(tmp_path / "in", 8)
    assert run(*command(tmp_path, "--shard-size", 2)).exit_code == 0

    def done_by_second_run() -> list[str]:
        result = run(*command(tmp_path, "--shard-size", 2, "--json"))
        assert result.exit_code == 0, result.output
        lines = map(json.loads, result.stdout.splitlines())
        return [Path(line["image"]).relative_to(tmp_path / "in").as_posix() for line in lines if not line.get("skipped")]

    assert done_by_second_run() == []
    Path(tmp_path / "in" / "new.png").write_bytes((tmp_path / "in" / names[0]).read_bytes())
    assert done_by_second_run() == ["new.png"]
    (tmp_path / "in" / names[3]).touch()  # newer, but the same
    assert done_by_second_run() == []
    Image.new("RGB", (30, 30), "red").save(tmp_path / "in" / names[3])
    assert done_by_second_run() == names[2:4]  # its shard
    store = TokenStore.open(tmp_path / "out")
    assert sorted(store.image_ids()) == sorted([*names, "new.png"])
    assert np.allclose(store[store.index(names[3])].tokens.vectors[:, :3], [1, 0, 0])
    (tmp_path / "out" / "shards" / "00000.parquet").unlink()
    assert done_by_second_run() == names[:2]
    assert TokenStore.open(tmp_path / "out").verify() == []


def test_other_settings_are_refused_in_one_sentence(tmp_path):
    make_photos(tmp_path / "in", 2)
    run(*command(tmp_path))
    for options, words in [
        (["--max-tokens", 4], "max_tokens = 9, not 4"),
        (["--dtype", "int8"], 'dtype = "float32", not "int8"'),
    ]:
        result = run(*command(tmp_path, *options))
        assert result.exit_code == 2
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_an_overlay_that_is_missing_is_made_without_doubling_the_image(tmp_path):
    make_photos(tmp_path / "in", 3)
    run(*command(tmp_path))
    assert run(*command(tmp_path, "--overlay")).exit_code == 0
    assert len(list((tmp_path / "out").rglob("*.overlay.png"))) == 3
    assert len(TokenStore.open(tmp_path / "out")) == 3


def test_outputs_among_the_photographs_are_no_inputs(tmp_path):
    names = make_photos(tmp_path / "in", 4)
    mine = tmp_path / "in" / "0" / "mine.overlay.png"  # called like an overlay, but none of ours
    mine.write_bytes((tmp_path / "in" / names[0]).read_bytes())
    folder = tmp_path / "in"
    for _ in range(2):
        assert run("tokenize", folder, "-o", folder, *LIGHT, "--overlay").exit_code == 0
        assert run("decode", folder).exit_code == 0
        assert run("segment", folder, "-o", folder / "labels", "--segmenter", "patches", "--overlay").exit_code == 0
    assert sorted(TokenStore.open(folder).image_ids()) == sorted([*names, "0/mine.overlay.png"])
    assert len(list((folder / "labels").rglob("*.png"))) == 2 * 5  # a label map and an overlay of each
    result = run("tokenize", folder, *LIGHT)
    assert "Left out 20 pictures that subobject wrote" in result.stderr


def test_pictures_of_ours_alone_are_inputs(tmp_path):
    make_photos(tmp_path / "in", 2)
    run("tokenize", tmp_path / "in", "-o", tmp_path / "out", *LIGHT)
    run("decode", tmp_path / "out", "-o", tmp_path / "pictures")
    assert "2 done" in run("tokenize", tmp_path / "pictures", *LIGHT).stderr


def test_a_label_map_never_overwrites_its_photograph(tmp_path, blocks):
    Image.fromarray(blocks).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    result = run("segment", tmp_path / "a.png", "-o", tmp_path, "--segmenter", "patches")
    assert result.exit_code == 2
    assert "a.png would be overwritten" in result.stderr
    assert (tmp_path / "a.png").read_bytes() == before


def test_two_runs_do_not_share_a_folder(tmp_path):
    make_photos(tmp_path / "in", 2)
    from subobject.files import lock_folder

    with lock_folder(tmp_path / "out"):
        code = "import sys; from subobject.cli.main import app; app(sys.argv[1:])"
        done = subprocess.run([sys.executable, "-c", code, *command(tmp_path)], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "another run is writing to" in done.stderr


class Die:
    """A job that kills its process at one image."""

    def __call__(self, image, pixels, clock):
        if image.relative.name == "001.png":
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_reported(tmp_path):
    make_photos(tmp_path, 3)
    images = [FoundImage(path, path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*.png"))]
    with pytest.raises(ValueError, match="a worker was killed"):
        list(process(images, Die(), lambda image: False, workers=2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", 0], "--workers is 0"),
        (["--shard-size", 0], "shard_size is 0"),
        (["--pca", 0], "pca is 0"),
        (["--dtype", "int4"], "int4"),
        (["--pca", 5], "pca 5 needs 50 tokens"),
    ],
)
def test_impossible_options_get_one_sentence(tmp_path, options, words):
    make_photos(tmp_path / "in", 2)
    result = run(*command(tmp_path, *options))
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_verify_names_a_damaged_shard(tmp_path):
    make_photos(tmp_path / "in", 4)
    run(*command(tmp_path, "--shard-size", 2))
    result = run("data", "verify", tmp_path / "out", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"store": str(tmp_path / "out"), "images": 4, "tokens": 36, "shards": 2, "problems": []}
    path = tmp_path / "out" / "shards" / "00001.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    result = run("data", "verify", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{path} is damaged" in result.stderr
    decoded = run("decode", tmp_path / "out", "-o", tmp_path / "pictures")
    assert decoded.exit_code == 1
    assert decoded.stderr.count(str(path)) == 1
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 2


def test_a_store_of_another_embedder_or_from_elsewhere_is_not_decoded_blindly(tmp_path):
    make_photos(tmp_path / "in", 1)
    run(*command(tmp_path))
    manifest = tmp_path / "out" / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(
        text.replace('"embedder": "mean-colour"', '"embedder": "seqae"').replace(
            '"embedder_sha256": null', '"embedder_sha256": "00"'
        )
    )
    assert "are not those that made" in run("decode", tmp_path / "out").stderr
    manifest.write_text(text)
    from subobject import TokenWriter

    with TokenWriter(tmp_path / "evil", json.loads(text)["settings"]) as writer:
        writer.write("../../escaped", TokenStore.open(tmp_path / "out")[0].tokens)
    result = run("decode", tmp_path / "evil")
    assert result.exit_code == 1
    assert "leads out of" in result.stderr
    assert not (tmp_path.parent / "escaped.decoded.png").exists()
