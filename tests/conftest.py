"""Shared fixtures: small pictures with known segments."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Machines are busy and the first call of compiled code is slow: examples have no deadline, and runs are the same each time.
settings.register_profile("subobject", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("subobject")

PHOTOS = Path(__file__).parent.parent / "examples" / "photos"


@pytest.fixture
def photos() -> Path:
    """Folder of the photographs that come with the repository."""
    return PHOTOS


@pytest.fixture
def blocks() -> np.ndarray:
    """A 40 x 60 picture of four flat rectangles."""
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[:20, :30] = (200, 40, 40)
    image[:20, 30:] = (40, 200, 40)
    image[20:, :30] = (40, 40, 200)
    image[20:, 30:] = (220, 220, 60)
    return image
