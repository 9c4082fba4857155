"""``subobject evaluate reconstruction`` on a tiny data set."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.data import layouts
from typer.testing import CliRunner

from subobject.cli.evaluate import app


@pytest.fixture
def data(tmp_path, photos):
    for folder in ("images", "labels", "boundaries"):
        (tmp_path / "data" / folder / "val").mkdir(parents=True)
    with Image.open(photos / "coffee.png") as image:
        image.convert("RGB").resize((90, 60)).save(tmp_path / "data/images/val/1.jpg")
    for folder in ("labels", "boundaries"):
        layouts.save(tmp_path / f"data/{folder}/val/1_0.png", np.ones((60, 90), np.uint8))
    return tmp_path / "data"


def test_scores_and_pictures(data, tmp_path):
    words = ["reconstruction", "--data", str(data), "--segmenter", "gradient", "--budget", "12", "--json"]
    result = CliRunner().invoke(app, [*words, "--pictures", str(tmp_path / "pictures")])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    methods = ["seqae", "mean-colour", "mean-colour-exact", "patch-32", "patch-16", "jpeg", "webp"]
    assert [row["method"] for row in rows] == methods
    assert rows[0]["tokens"] == 12
    assert rows[0]["kept"] == 12 * 768
    assert rows[0]["psnr"] > rows[1]["psnr"]
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["1.png"]


def test_an_unknown_method_is_named(data):
    result = CliRunner().invoke(app, ["reconstruction", "--data", str(data), "--method", "png"])
    assert result.exit_code == 2
    assert "unknown method 'png'" in result.output
