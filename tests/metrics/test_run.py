"""``subobject evaluate`` on a data set of two made-up images in the layout of BSDS500."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from subobject.cli.evaluate import app
from subobject.data.bsds500 import read_split
from subobject.metrics import run
from subobject.metrics.segments import boundary_map

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
        cv2.imwrite(str(folder / f"{image.id}.png"), (image.boundaries()[0] * scale).astype(dtype))
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
    result = evaluate("segments", "--data", data, *names, "--budget", 4, "--budget", 16, "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["segmenter"], line["budget"]) for line in lines] == [
        ("gradient", 4), ("gradient", 16), ("patches", 4), ("patches", 16),
    ]  # fmt: skip
    expected = {"segmenter", "budget", "tokens", "recall", "precision", "ue", "asa", "monosemanticity", "seconds"}
    assert all(expected <= set(line) and 0 < line["tokens"] <= line["budget"] for line in lines)
    assert lines[0]["asa"] > 0.95
    assert lines[0]["recall"] == 1


def test_thresholds_are_those_of_the_benchmark():
    assert run.even_thresholds(99).tolist() == [i / 100 for i in range(1, 100)]


def test_predictions_are_scaled_to_one(tmp_path):
    values = np.array([[0, 51, 255]])
    for name, array in (("a", values.astype(np.uint8)), ("b", (values * 257).astype(np.uint16))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), array)
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
        cv2.imwrite(str(path), content)
        result = evaluate(*options)
        assert result.exit_code == 2
        assert message in result.stderr
    path.write_bytes(b"no image")
    assert "cannot be read" in evaluate(*options).stderr
