"""``subobject tokenize``, ``segment`` and ``decode`` as a user meets them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from subobject import Segmentation, TokenStore
from subobject.cli.main import app

LIGHT = ["--segmenter", "gradient", "--embedder", "mean-colour"]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def json_lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tokenize_json_follows_the_contract(tmp_path, blocks):
    photo = save(tmp_path / "in" / "a.png", blocks)
    result = run("tokenize", photo, "-o", tmp_path / "out", "--max-tokens", 3, "--json", "--overlay", *LIGHT)
    assert result.exit_code == 0, result.output
    (line,) = json_lines(result.stdout)
    assert line["image"] == str(photo)
    assert (line["width"], line["height"], line["tokens"]) == (60, 40, 3)
    assert set(line["seconds"]) == {"read", "boundaries", "segments", "embeddings"}
    assert (tmp_path / "out" / "a.overlay.png").exists()


def test_tokens_decode_to_a_picture_of_the_original_size(tmp_path, blocks):
    save(tmp_path / "in" / "a.png", blocks)
    assert run("tokenize", tmp_path / "in", "-o", tmp_path / "out", *LIGHT).exit_code == 0
    result = run("decode", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    picture = np.asarray(Image.open(json_lines(result.stdout)[0]["image"]))
    assert picture.shape == blocks.shape
    # Four flat rectangles come back but for their blended borders.
    assert np.abs(picture.astype(int) - blocks).mean() < 12


@pytest.mark.parametrize(("file_format", "suffix"), [("png", ".png"), ("coco", ".json"), ("npz", ".npz")])
def test_segment_writes_every_format_under_the_relative_path(tmp_path, blocks, file_format, suffix):
    save(tmp_path / "in" / "deep" / "a.png", blocks)
    arguments = ["--format", file_format, "--max-tokens", 4, "--segmenter", "gradient"]
    result = run("segment", tmp_path / "in", "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 0, result.output
    segmentation = Segmentation.load(tmp_path / "out" / "deep" / f"a{suffix}")
    assert segmentation.num_segments == 4
    assert segmentation.areas.sum() == 2400
    assert np.abs(segmentation.areas - 600).max() < 60


def test_npz_holds_the_arrays_of_the_contract(tmp_path, blocks):
    photo = save(tmp_path / "a.png", blocks)
    run("segment", photo, "-o", tmp_path / "out", "--format", "npz", "--segmenter", "gradient")
    with np.load(tmp_path / "out" / "a.npz") as file:
        assert set(file) == {"labels", "boxes", "areas", "tree_parents", "tree_strengths"}
        assert file["labels"].dtype == np.int32
        assert file["labels"].shape == (40, 60)


def broken_files(folder: Path, good: bytes) -> list[Path]:
    """Write 20 files that are no readable image of their name, of every kind."""
    folder.mkdir(parents=True)
    contents: dict[str, bytes] = {}
    for i in range(4):
        contents[f"truncated{i}.jpg"] = good[: len(good) // (i + 2)]
        contents[f"zero{i}.jpg"] = b""
        contents[f"text{i}.jpg"] = b"this is no picture\n" * (i + 1)
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x01\x86\xa0\x00\x01\x86\xa0\x08\x02\x00\x00\x00"
    import zlib

    checksum = zlib.crc32(header[12:]).to_bytes(4, "big")
    for i in range(3):
        contents[f"bomb{i}.png"] = header + checksum + b"\x00\x00\x00\x00IEND\xaeB`\x82"
        contents[f"extension{i}.png"] = good
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return sorted(folder.iterdir())


def test_a_folder_of_500_with_20_broken_ends_with_480_done(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    for i in range(480):
        save(folder / f"{i % 7}" / f"{i:03}.jpg", rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    broken = broken_files(folder / "broken", (folder / "0" / "000.jpg").read_bytes())
    assert len(broken) == 20
    out = tmp_path / "out"
    result = run("segment", folder, "-o", out, "--format", "npz", "--segmenter", "patches", "--max-tokens", 6, "--json")
    assert result.exit_code == 1
    lines = json_lines(result.stdout)
    assert sum("segments" in line for line in lines) == 480
    failed = {line["image"]: line["error"] for line in lines if "error" in line}
    assert sorted(failed) == [str(path) for path in broken]
    assert all(Path(path).name in reason and "Error:" not in reason for path, reason in failed.items())
    assert len(list(out.rglob("*.npz"))) == 480
    assert not [path for path in out.rglob("*") if "partial" in path.name]
    assert "480 done, 20 failed" in result.stderr


def test_a_second_run_does_only_what_is_missing(tmp_path, blocks):
    for name in "abc":
        save(tmp_path / "in" / f"{name}.png", blocks)
    command = ["segment", tmp_path / "in", "-o", tmp_path / "out", "--json", "--segmenter", "gradient", "--format", "npz"]
    run(*command)
    before = everything(tmp_path / "out")
    (tmp_path / "out" / "b.npz").unlink()
    lines = json_lines(run(*command).stdout)
    assert [line.get("skipped", False) for line in lines] == [True, False, True]
    assert everything(tmp_path / "out") == before
    (tmp_path / "out" / ".b.4711.partial.npz").write_text("left by a killed run")
    lines = json_lines(run(*command, "--max-tokens", 2).stdout)
    assert [line.get("segments") for line in lines] == [2, 2, 2], "other settings must not keep old results"
    assert not list((tmp_path / "out").glob(".*"))


def test_files_that_differ_only_in_their_suffix_keep_it(tmp_path, blocks):
    save(tmp_path / "in" / "a.png", blocks)
    save(tmp_path / "in" / "a.jpg", blocks)
    assert run("tokenize", tmp_path / "in", "-o", tmp_path / "out", *LIGHT).exit_code == 0
    assert TokenStore.open(tmp_path / "out").image_ids() == ["a.jpg", "a.png"]
    assert run("decode", tmp_path / "out").exit_code == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"a.png.decoded.png", "a.jpg.decoded.png"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-tokens", 0], "max_tokens is 0"),
        (["--threshold", 2], "threshold is 2"),
        (["--threshold", "nan"], "threshold is nan"),
        (["--segmenter", "slik"], "did you mean 'slic'"),
        (["--embedder", "colour"], "unknown embedder"),
        (["--order", "sideways"], "unknown order"),
        (["--overlay"], "add -o DIR"),
        (["-o", "FILE"], "is a file"),
        (["--runtime", "tvm"], "tvm"),
        (["--boundary-weights", "no-such-release"], "no-such-release"),
    ],
)
def test_bad_options_get_one_sentence_and_status_2(tmp_path, blocks, options, words):
    photo = save(tmp_path / "a.png", blocks)
    (tmp_path / "file").write_text("occupied")
    options = [tmp_path / "file" if option == "FILE" else option for option in options]
    result = run("tokenize", photo, *options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.mark.parametrize("source", ["missing.jpg", "empty"])
def test_sources_without_images_are_wrong_usage(tmp_path, source):
    (tmp_path / "empty").mkdir()
    result = run("segment", tmp_path / source)
    assert result.exit_code == 2
    assert source in result.stderr


def test_decode_refuses_what_is_no_store(tmp_path):
    for source in (tmp_path, tmp_path / "missing"):
        result = run("decode", source)
        assert result.exit_code == 2
        assert f"{source} holds no token store" in result.stderr


def test_an_interrupted_run_leaves_whole_files_and_resumes(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(60):
        save(tmp_path / "in" / f"{i:02}.png", rng.integers(0, 255, (200, 200, 3), dtype=np.uint8))
    command = [sys.executable, "-m", "subobject", "segment", tmp_path / "in", "-o", tmp_path / "out"]
    command += ["--format", "npz", "--segmenter", "gradient"]
    out = tmp_path / "out"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.time() + 60
    while len(list(out.glob("[0-9]*.npz"))) < 3 and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "continues the run" in process.stderr.read()
    done = sorted(out.glob("[0-9]*.npz"))
    assert 3 <= len(done) < 60
    assert all(Segmentation.load(path).num_segments > 0 for path in done)
    assert not list(out.glob(".*"))
    assert subprocess.run(command, check=True, capture_output=True).returncode == 0
    assert len(list(out.glob("*.npz"))) == 60


def test_help_and_import_answer_fast():
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "subobject", "--help"], check=True, capture_output=True)
    # Well under a second on an idle machine; the bound leaves room for a busy one.
    assert time.perf_counter() - start < 2.5
