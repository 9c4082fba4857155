"""The gradient boundaries: nothing on nothing, something on an edge, the same in strips."""

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from subobject import filters
from subobject.boundaries.gradient import Gradient
from tests.boundaries.conftest import picture


def probability(image):
    return Gradient()([image])[0].probability


def test_constant_image_has_no_boundary():
    for colour in ((0, 0, 0), (255, 255, 255), (13, 200, 77)):
        assert probability(np.full((20, 30, 3), colour, np.uint8)).max() == 0
    assert probability(np.full((1, 1, 3), 5, np.uint8)).tolist() == [[0]]


def test_a_step_is_a_certain_boundary_where_it_is():
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, 14:] = 255
    result = probability(image)
    assert result[:, 13:15].min() == 1
    assert result[:, :8].max() == result[:, 20:].max() == 0
    np.testing.assert_allclose(result, np.tile(result[:1], (20, 1)), atol=1e-6)


def test_equals_the_definition_on_the_whole_image():
    image = picture(60, 80)
    lab = gaussian_filter(rgb2lab(image), (1.5, 1.5, 0), mode="nearest", radius=(5, 5, 0))
    padded = np.pad(lab, ((1, 1), (1, 1), (0, 0)), mode="edge")
    smooth_y = (3 * padded[:-2] + 10 * padded[1:-1] + 3 * padded[2:]) / 16
    smooth_x = (3 * padded[:, :-2] + 10 * padded[:, 1:-1] + 3 * padded[:, 2:]) / 16
    across = (smooth_y[:, 2:] - smooth_y[:, :-2]) / 2
    down = (smooth_x[2:] - smooth_x[:-2]) / 2
    expected = np.minimum(np.sqrt((across**2 + down**2).sum(2)) / 16, 1)
    np.testing.assert_allclose(probability(image), expected, atol=2e-4)


def test_strips_do_not_show(monkeypatch):
    image = picture(90, 40)
    whole = probability(image)
    monkeypatch.setattr(filters, "_STRIP", 16)
    np.testing.assert_array_equal(probability(image), whole)
