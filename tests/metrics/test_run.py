"""``subobject evaluate`` on a data set of two made-up images in the layout of BSDS500."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from subobject.cli.evaluate import app
from subobject.data.bsds500 import read_split
from subobject.metrics import run
from subobject.metrics.boundaries import boundary_counts
from subobject.metrics.parallel import Workers
from subobject.metrics.plots import PUBLISHED
from subobject.metrics.segments import boundary_map
from subobject.segments import MASK_SEGMENTERS
from subobject.segments.pipeline import PIPELINES, ImageSegmenter

IDS = ("100", "22")


@pytest.fixture
def data(tmp_path) -> Path:
    """Two images of four flat rectangles, each with two annotators who agree."""
    folder = tmp_path / "bsds"
    for part in ("images", "labels", "boundaries"):
        (folder / part / "val").mkdir(parents=True)
    for i, name in enumerate(IDS):
        labels = np.kron(np.array([[0, 1], [2, 3]]), np.ones((60, 80), dtype=int))
        labels = labels if i == 0 else labels.T
        colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [220, 220, 60]], dtype=np.uint8)
        Image.fromarray(colours[labels]).save(folder / "images" / "val" / f"{name}.jpg", quality=95)
        for annotator in range(2):
            Image.fromarray((labels + 1).astype(np.uint8)).save(folder / "labels" / "val" / f"{name}_{annotator}.png")
            Image.fromarray(boundary_map(labels)).save(folder / "boundaries" / "val" / f"{name}_{annotator}.png")
    return folder


@pytest.fixture
def maps(tmp_path, data) -> Path:
    """Perfect maps, one of 8 and one of 16 bits."""
    folder = tmp_path / "maps"
    folder.mkdir()
    for image, (scale, dtype) in zip(read_split(data, "val"), ((255, np.uint8), (65535, np.uint16)), strict=True):
        Image.fromarray((image.boundaries()[0] * scale).astype(dtype)).save(folder / f"{image.id}.png")
    return folder


def evaluate(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_boundaries_of_perfect_predictions(data, maps):
    options = ("--split", "val", "--thresholds", 5, "--workers", 1, "--json")
    result = evaluate("boundaries", "--data", data, "--predictions", maps, *options)
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout.splitlines()[-1])
    assert list(scores)[:5] == ["ods", "ois", "ap", "r50", "covering"]
    assert scores["ods"] == scores["ois"] == scores["r50"] == 1
    assert scores["covering"] > 0.95
    assert scores["images"] == 2


def test_several_processes_give_the_same(data, maps):
    images = read_split(data, "val")
    paths = run.find_predictions(maps, images)
    seen: list[int] = []
    thresholds = run.even_thresholds(3)
    many = run.evaluate_predictions(images, paths, thresholds=thresholds, workers=2, advance=lambda: seen.append(1))
    assert many == run.evaluate_predictions(images, paths, thresholds=thresholds, workers=1)
    assert len(seen) == 2


def test_boundaries_of_a_model(data):
    result = evaluate(
        "boundaries", "--data", data, "--split", "val", "--model", "gradient", "--thresholds", 9, "--limit", 1, "--json"
    )
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    assert scores["images"] == 1
    assert scores["ods"] > 0.9


def test_segments_prints_a_line_per_segmenter_and_budget(data):
    names = ("--segmenter", "gradient", "--segmenter", "patches")
    result = evaluate("segments", "--data", data, *names, "--budget", 4, "--budget", 16, "--workers", 1, "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["segmenter"], line["budget"]) for line in lines] == [
        ("gradient", 4), ("gradient", 16), ("patches", 4), ("patches", 16),
    ]  # fmt: skip
    expected = {"segmenter", "budget", "tokens", "recall", "precision", "ue", "asa", "monosemanticity", "seconds"}
    expected |= {"covering", "explained_variation", "monosemanticity_area"}
    assert all(expected <= set(line) and 0 < line["tokens"] <= line["budget"] for line in lines)
    assert lines[0]["asa"] > 0.95
    assert lines[0]["recall"] == 1


def test_every_shipped_segmenter_is_judged_at_every_budget_and_drawn(data, tmp_path):
    pytest.importorskip("matplotlib")
    plot, cache = tmp_path / "plots", tmp_path / "cache"
    options = ("--data", data, "--limit", 1, "--workers", 1, "--plot", plot, "--cache", cache, "--json")
    result = evaluate("segments", *options)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    names = set(PIPELINES) - set(MASK_SEGMENTERS)
    assert {(line["segmenter"], line["budget"]) for line in lines} == {
        (name, k) for name in names for k in (16, 32, 64, 128, 256, 400)
    }
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG")):
        assert (plot / f"segments{suffix}").read_bytes().startswith(start)
    assert any(cache.rglob("*.npz"))


def test_workers_and_cache_change_no_score(data, tmp_path):
    images = read_split(data, "val")
    cutter = ImageSegmenter.load("gradient")

    def scores(workers, cache):
        with Workers(workers) as pool:
            rows = run.evaluate_segmenter(images, cutter.method, cutter.boundary_model, [4, 9], workers=pool, cache=cache)
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    plain = scores(1, None)
    assert scores(2, tmp_path / "cache") == plain
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}
    assert len(files) == 4
    assert scores(1, tmp_path / "cache") == plain
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}


def test_counts_are_kept_by_what_they_depend_on(data, maps, tmp_path, monkeypatch):
    images, cache = read_split(data, "val"), tmp_path / "cache"
    paths = run.find_predictions(maps, images)

    def judge(**options):
        chosen = {"thresholds": run.even_thresholds(3), "workers": 1, "cache": cache} | options
        return run.pooled_scores(run.judge_predictions(images, paths, **chosen))

    first = judge()
    assert first == judge(cache=None)
    counted = []
    monkeypatch.setattr(run, "boundary_counts", lambda *args: counted.append(1) or boundary_counts(*args))
    assert judge() == first
    assert counted == []
    judge(suppress=True)
    judge(thresholds=run.even_thresholds(2))
    assert len(counted) == 4
    Image.fromarray(np.zeros((120, 160), np.uint8)).save(paths[0])
    judge()
    assert len(counted) == 5
    monkeypatch.setattr("subobject.metrics.cache.VERSION", 0)
    judge()
    assert len(counted) == 7
    for path in cache.rglob("*.npz"):
        path.write_bytes(b"broken")
    judge()
    assert len(counted) == 9


def test_precision_recall_is_drawn(data, maps, tmp_path):
    pytest.importorskip("matplotlib")
    options = ("--split", "val", "--predictions", maps, "--thresholds", 5, "--workers", 1, "--plot", tmp_path / "plots")
    assert evaluate("boundaries", "--data", data, *options).exit_code == 0
    svg = (tmp_path / "plots" / "precision_recall.svg").read_text()
    assert "<svg" in svg
    assert Image.open(tmp_path / "plots" / "precision_recall.png").size[0] > 500


def test_published_points_lie_on_their_f():
    for method in PUBLISHED:
        if method.point is not None:
            recall, precision = method.point
            assert 2 * recall * precision / (recall + precision) == pytest.approx(method.f, abs=6e-4)


def test_a_missing_matplotlib_is_named(data, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = evaluate("segments", "--data", data, "--plot", tmp_path)
    assert result.exit_code == 2
    assert "subobject[plots]" in result.stderr


def test_thresholds_are_those_of_the_benchmark():
    assert run.even_thresholds(99).tolist() == [i / 100 for i in range(1, 100)]


def test_predictions_are_scaled_to_one(tmp_path):
    values = np.array([[0, 51, 255]])
    for name, array in (("a", values.astype(np.uint8)), ("b", (values * 257).astype(np.uint16))):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        assert run.read_prediction(tmp_path / f"{name}.png").tolist() == [[0, 0.2, 1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("boundaries", "--model", "sobel"), "unknown boundary model 'sobel'"),
        (("boundaries", "--thresholds", "0"), "use 1 or more"),
        (("boundaries", "--limit", "0"), "use 1 or more"),
        (("boundaries", "--predictions", "nowhere"), "2 of 2 predictions are missing"),
        (("boundaries", "--split", "test"), "does not hold the BSDS500 split"),
        (("boundaries", "--model", "gradient", "--workers", "0"), "use 1 or more"),
        (("segments", "--segmenter", "slik"), "unknown segmenter 'slik'"),
        (("segments", "--segmenter", "patches", "--budget", "0"), "the budget is 0"),
    ],
)
def test_bad_options_end_with_one_sentence(data, arguments, message):
    options = arguments if "--split" in arguments else (*arguments, "--split", "val")
    result = evaluate(*options[:1], "--data", data, *options[1:])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_bad_predictions_are_named(data, maps):
    options = ("boundaries", "--data", data, "--split", "val", "--predictions", maps, "--workers", 1)
    path = maps / f"{IDS[0]}.png"
    for content, message in (
        (np.zeros((3, 3), np.uint8), "has size (3, 3)"),
        (np.zeros((60, 80, 3), np.uint8), "pixel format RGB"),
    ):
        Image.fromarray(content).save(path)
        result = evaluate(*options)
        assert result.exit_code == 2
        assert message in result.stderr
    path.write_bytes(b"no image")
    assert "cannot be read" in evaluate(*options).stderr
