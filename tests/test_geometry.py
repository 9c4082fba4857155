"""Coordinates: areas, boxes and run lengths against other ways to get them, and round trips."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from subobject.geometry import (
    decode_rle,
    encode_rle,
    from_token_boxes,
    label_areas,
    label_boxes,
    resize_labels,
    to_token_boxes,
)

LABELS = hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 4))
SIDES = st.integers(1, 2**20)


@given(LABELS)
def test_areas_and_boxes_are_those_of_the_masks(labels: np.ndarray) -> None:
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
    count = int(labels.max()) + 1
    areas, boxes = label_areas(labels, count), label_boxes(labels, count)
    assert (areas.dtype, boxes.dtype) == (np.int64, np.int32)
    for segment in range(count):
        y, x = np.nonzero(labels == segment)
        assert areas[segment] == len(y)
        assert boxes[segment].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


@given(LABELS)
def test_run_lengths_are_those_of_pycocotools(labels: np.ndarray) -> None:
    for segment, string in enumerate(encode_rle(labels, 5)):
        mask = labels == segment
        assert string == coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
        assert np.array_equal(decode_rle(string, labels.shape), mask)


def test_run_lengths_of_long_runs() -> None:
    mask = np.zeros((700, 900), np.int32)
    mask[13:650, 5:871] = 1
    string = encode_rle(mask, 2)[1]
    assert string == coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    assert np.array_equal(decode_rle(string, (700, 900)), mask == 1)


def test_run_lengths_of_another_size_are_refused() -> None:
    string = encode_rle(np.zeros((2, 3), np.int32), 1)[0]
    with pytest.raises(ValueError, match="run lengths cover 6 pixels, but the image has 3 x 3"):
        decode_rle(string, (3, 3))


def test_run_lengths_that_break_off_are_refused() -> None:
    with pytest.raises(ValueError, match="end in the middle of a number"):
        decode_rle("T", (2, 3))


@given(SIDES, SIDES, st.data())
def test_token_boxes_round_trip(height: int, width: int, data: st.DataObject) -> None:
    x0 = data.draw(st.integers(0, width - 1))
    y0 = data.draw(st.integers(0, height - 1))
    box = np.array([[x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))]], np.int32)
    token_box = to_token_boxes(box, (height, width))
    assert token_box.dtype == np.float32
    assert token_box.min() >= 0
    assert token_box.max() <= 1
    assert np.array_equal(from_token_boxes(token_box, (height, width)), box)


def test_token_boxes_are_corner_and_size() -> None:
    assert to_token_boxes(np.array([[10, 5, 30, 20]]), (20, 40)).tolist() == [[0.25, 0.25, 0.5, 0.75]]


@given(LABELS, st.integers(1, 25), st.integers(1, 25))
def test_resized_labels_are_those_under_the_new_centres(labels: np.ndarray, height: int, width: int) -> None:
    rows = [int(Fraction(2 * y + 1, 2) * labels.shape[0] / height) for y in range(height)]
    columns = [int(Fraction(2 * x + 1, 2) * labels.shape[1] / width) for x in range(width)]
    assert np.array_equal(resize_labels(labels, (height, width)), labels[np.ix_(rows, columns)])
