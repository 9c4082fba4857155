"""Training batches of patches."""

import numpy as np
import pytest

from subobject.data.patch_crops import PatchCrops, PatchOptions


@pytest.fixture
def ramp():
    """A picture whose red rises with the column and whose green rises with the row."""
    image = np.zeros((40, 50, 3), np.uint8)
    image[..., 0] = np.arange(50) * 5
    image[..., 1] = np.arange(40)[:, None] * 6
    return image


def test_items_depend_on_seed_and_index_only(ramp):
    first, second = (PatchCrops([ramp], 8, 3, PatchOptions(batch=5), seed=1) for _ in range(2))
    assert np.array_equal(first[2]["patches"], second[2]["patches"])
    assert not np.array_equal(first[0]["patches"], first[1]["patches"])
    with pytest.raises(IndexError):
        first[3]


def test_patches_lie_inside_the_photograph_at_their_magnification(ramp):
    patches = PatchCrops([ramp], 8, 1, PatchOptions(batch=200, scale=(0.25, 1.0)), seed=0)[0]["patches"].reshape(200, 8, 8, 3)
    assert patches.dtype == np.float32
    steps = np.diff(patches[..., 0], axis=2).mean(axis=(1, 2)) * 255 / 5
    # Between two columns of a patch lie 1 to 4 columns of the photograph; a flip changes the sign.
    assert 0.9 < np.abs(steps).min() < 1.3
    assert 3.3 < np.abs(steps).max() < 4.1
    assert 0.3 < np.mean(steps > 0) < 0.7


def test_photographs_that_are_too_small_are_left_out(ramp):
    assert len(PatchCrops([ramp[:5], ramp], 8, 1, PatchOptions(), 0).images) == 1
    with pytest.raises(ValueError, match="none of 1 photographs holds a patch of 8 x 8"):
        PatchCrops([ramp[:5]], 8, 1, PatchOptions(), 0)
    with pytest.raises(ValueError, match="use magnifications"):
        PatchOptions(scale=(0.5, 2.0))
