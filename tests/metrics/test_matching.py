"""Thinning against scikit-image, matching against SciPy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from skimage.morphology import thin as thin_of_skimage

from subobject.metrics.matching import disc_offsets, match_pixels, thin


def blobs(rng: np.random.Generator, size_hw: tuple[int, int], smoothness: float, share: float) -> np.ndarray:
    field = gaussian_filter(rng.random(size_hw), smoothness)
    return field > np.quantile(field, 1 - share)


def largest_matching(first: np.ndarray, second: np.ndarray, radius: float) -> int:
    """The slow readable twin: all pairs by brute force."""
    a, b = np.argwhere(first), np.argwhere(second)
    if not len(a) or not len(b):
        return 0
    near = np.square(a[:, None] - b[None]).sum(axis=2) <= radius * radius
    return int((maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum())


@pytest.mark.parametrize("smoothness", [0, 1, 3])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_thin_equals_scikit_image(smoothness, share):
    rng = np.random.default_rng(int(10 * share + smoothness))
    for size_hw in ((40, 57), (1, 9), (9, 1), (2, 2)):
        mask = blobs(rng, size_hw, smoothness, share)
        np.testing.assert_array_equal(thin(mask), thin_of_skimage(mask))


def test_thin_of_everything_and_nothing():
    full = np.ones((7, 12), dtype=bool)
    np.testing.assert_array_equal(thin(full), thin_of_skimage(full))
    assert not thin(~full).any()


def test_disc_offsets_are_sorted_and_inclusive():
    assert disc_offsets(0.9).tolist() == [[0, 0]]
    lengths = np.square(disc_offsets(2.0)).sum(axis=1)
    assert len(lengths) == 13
    assert (np.diff(lengths) >= 0).all()
    assert lengths[-1] == 4


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("density", "other"), [(0.05, 0.05), (0.3, 0.1), (0.1, 0.4)])
def test_matching_is_as_large_as_possible(seed, density, other):
    rng = np.random.default_rng(seed)
    first, second = rng.random((23, 31)) < density, rng.random((23, 31)) < other
    for radius in (0.5, 1.0, 2.3, 4.337):
        matched, answered = match_pixels(first, second, radius)
        assert matched.sum() == answered.sum() == largest_matching(first, second, radius)
        assert not (matched & ~first).any()
        assert not (answered & ~second).any()


def test_matching_of_lines_needs_augmenting_paths():
    rng = np.random.default_rng(5)
    first = thin(blobs(rng, (40, 50), 2, 0.4))
    second = np.roll(first, (1, 2), axis=(0, 1)) & (rng.random(first.shape) < 0.8)
    for radius in (1.0, 1.5, 3.0):
        assert match_pixels(first, second, radius)[0].sum() == largest_matching(first, second, radius)


def test_one_pixel_answers_to_one_only():
    first = np.zeros((5, 9), dtype=bool)
    first[2, 2:7] = True
    second = np.zeros_like(first)
    second[2, 4] = True
    matched, answered = match_pixels(first, second, 3)
    assert np.argwhere(matched).tolist() == [[2, 4]]
    assert answered.sum() == 1
    assert not match_pixels(first, np.zeros_like(first), 3)[0].any()


def test_matching_refuses_other_sizes():
    with pytest.raises(ValueError, match="differ in size"):
        match_pixels(np.zeros((2, 3), dtype=bool), np.zeros((3, 2), dtype=bool), 1)
