"""A tiny data set in the layout of BSDS500."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def data(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("images", "labels", "boundaries"):
        (tmp_path / "data" / folder / "train").mkdir(parents=True)
    for name in ("1", "2"):
        labels = np.ones((30, 40), np.uint8)
        labels[:, 15:] = 2
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / f"data/images/train/{name}.jpg")
        Image.fromarray(labels).save(tmp_path / f"data/labels/train/{name}_0.png")
        Image.fromarray(labels * 0).save(tmp_path / f"data/boundaries/train/{name}_0.png")
    return tmp_path / "data"
