"""Compiled filters against slow readable twins and other libraries."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import correlate1d, distance_transform_edt
from skimage.color import rgb2lab

from subobject import filters
from subobject.filters import convolve, gaussian_kernel, in_strips, nearest_marked, resample, rgb_to_lab

SIDES = st.integers(1, 12)
SHAPES = st.one_of(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES, st.integers(1, 4)))
VALUES = hnp.arrays(np.float32, SHAPES, elements=st.floats(-1, 1, width=32))


def resample_twin(values: np.ndarray, new: int) -> np.ndarray:
    """Resize the first axis of ``(n, ...)``, one new value at a time."""
    old, result = len(values), []
    for i in range(new):
        start, stop = i * old / new, (i + 1) * old / new
        if new < old:
            shares = [max(0.0, min(j + 1, stop) - max(j, start)) for j in range(old)]
        else:
            centre = min(max((start + stop) / 2, 0.5), old - 0.5)
            shares = [max(0.0, 1 - abs(j + 0.5 - centre)) for j in range(old)]
        result.append(np.tensordot(np.array(shares) / sum(shares), values, 1))
    return np.array(result)


@given(VALUES, SIDES, SIDES)
def test_resample_equals_twin(values: np.ndarray, height: int, width: int) -> None:
    expected = resample_twin(resample_twin(values.astype(float), height).swapaxes(0, 1), width).swapaxes(0, 1)
    result = resample(values, (height, width))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)
    levels = np.rint((values + 1) * 127).astype(np.uint8)
    assert np.abs(resample(levels, (height, width)) - (expected + 1) * 127).max() <= 1.001
    assert resample(np.full_like(levels, 255), (height, width)).min() == 255


@pytest.mark.parametrize("size_hw", [(30, 41), (47, 60), (90, 61), (200, 200)])
def test_resample_agrees_with_opencv(size_hw: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    shrinks = max(size_hw) <= 60
    expected = cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    assert np.abs(resample(image, size_hw).astype(int) - expected).max() <= 1


@given(VALUES, st.sampled_from([1, 3, 5, 11]), st.sampled_from([1, 3, 5, 11]))
def test_convolve_agrees_with_scipy(values: np.ndarray, down: int, across: int) -> None:
    random = np.random.default_rng(down + 100 * across)
    kernels = random.normal(size=down), random.normal(size=across)
    expected = correlate1d(correlate1d(values.astype(float), kernels[0], 0, mode="nearest"), kernels[1], 1, mode="nearest")
    np.testing.assert_allclose(convolve(values, *kernels), expected, atol=1e-4)


def test_convolve_rounds_integers() -> None:
    image = np.array([[0, 1, 1], [1, 255, 255]], np.uint8)
    assert convolve(image, [1], [0, 0.5, 0.5]).tolist() == [[1, 1, 1], [128, 255, 255]]


def test_gaussian_kernel_has_its_width() -> None:
    kernel = gaussian_kernel(1.5, 7)
    assert kernel.sum() == pytest.approx(1)
    assert np.sqrt((kernel * np.square(np.arange(-7, 8))).sum()) == pytest.approx(1.5, abs=1e-3)


def test_lab_agrees_with_scikit_image() -> None:
    levels = np.array([0, 1, 5, 10, 11, 40, 128, 200, 254, 255], np.uint8)
    pixels = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(25, 40, 3)
    np.testing.assert_allclose(rgb_to_lab(pixels), rgb2lab(pixels), atol=0.01)
    np.testing.assert_allclose(rgb_to_lab(np.full((1, 1, 3), 255, np.uint8))[0, 0], [100, 0, 0], atol=1e-4)


def test_strips_do_not_show(monkeypatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (23, 4, 3), np.uint8)

    def vertical_mean(pixels: np.ndarray) -> np.ndarray:
        return convolve(pixels[..., 0].astype(np.float32), np.full(5, 0.2), [1])

    whole = in_strips(vertical_mean, image, 2)
    monkeypatch.setattr(filters, "_STRIP", 4)
    np.testing.assert_array_equal(in_strips(vertical_mean, image, 2), whole)
    assert not np.array_equal(in_strips(vertical_mean, image, 1), whole)


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))), st.data())
def test_nearest_marked_is_the_nearest(marked: np.ndarray, data: st.DataObject) -> None:
    marked[data.draw(st.integers(0, marked.shape[0] - 1)), data.draw(st.integers(0, marked.shape[1] - 1))] = True
    index, distance = nearest_marked(marked)
    np.testing.assert_allclose(distance, distance_transform_edt(~marked), rtol=1e-6)
    assert marked.ravel()[index].all()
    y, x = np.mgrid[: marked.shape[0], : marked.shape[1]]
    np.testing.assert_allclose(np.hypot(index // marked.shape[1] - y, index % marked.shape[1] - x), distance, rtol=1e-6)


def test_nearest_marked_prefers_the_smaller_x_and_then_the_smaller_y() -> None:
    marked = np.zeros((3, 3), bool)
    marked[[0, 1, 1, 2], [1, 0, 2, 1]] = True
    assert nearest_marked(marked)[0][1, 1] == 3
    marked[1, 0] = False
    assert nearest_marked(marked)[0][1, 1] == 1
    with pytest.raises(ValueError, match="at least one pixel"):
        nearest_marked(np.zeros((2, 2), bool))
