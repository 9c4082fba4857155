"""Targets against OpenCV's own drawing, slow unions over masks, and hand-computed maps."""

import cv2
import numpy as np
import pytest

from subobject.data.boundary_targets import (
    TargetOptions,
    annotator_fraction,
    annotator_maps,
    border_band,
    contour_lines,
    label_changes,
)
from subobject.data.layers import stack_masks
from tests.data.layouts import overlapping_masks


def blobs(seed: int = 0, size_hw: tuple[int, int] = (40, 50), segments: int = 5) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((*size_hw, segments)).astype(np.float32), (0, 0), 4)
    return noise.argmax(axis=2).astype(np.int32)


def test_label_changes_equal_a_slow_twin():
    labels = np.random.default_rng(0).integers(0, 3, (7, 9))
    for y in range(7):
        for x in range(9):
            right = x + 1 < 9 and labels[y, x] != labels[y, x + 1]
            below = y + 1 < 7 and labels[y, x] != labels[y + 1, x]
            assert label_changes(labels)[y, x] == (right or below)


@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_contours_are_those_of_every_mask_on_the_whole_canvas(width, seed):
    labels = blobs(seed)
    labels[5:12, 5:12] = -1
    labels[labels == 2] = 7  # indices need not follow each other
    canvas = np.zeros(labels.shape, np.uint8)
    for segment in np.unique(labels[labels >= 0]):
        contours = cv2.findContours((labels == segment).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        cv2.drawContours(canvas, contours, -1, 1, 1)
    near = np.zeros(labels.shape, bool)
    for y, x in np.argwhere(canvas):
        for dy in range(-(width // 2), width // 2 + 1):
            for dx in range(-(width // 2), width // 2 + 1):
                inside = 0 <= y + dy < labels.shape[0] and 0 <= x + dx < labels.shape[1]
                if inside and dy * dy + dx * dx <= width * width / 4:
                    near[y + dy, x + dx] = True
    assert np.array_equal(contour_lines(labels, width), near)


def test_a_straight_border_is_four_pixels_wide():
    labels = np.zeros((20, 20), np.int32)
    labels[:, 10:] = 1
    row = contour_lines(labels)[10]
    # The frame is part of the contours.
    assert np.flatnonzero(row).tolist() == [0, 1, 8, 9, 10, 11, 18, 19]
    assert np.flatnonzero(border_band(labels)[10]).tolist() == [8, 9, 10, 11]
    assert not contour_lines(np.full((4, 4), -1)).any()


@pytest.mark.parametrize("radius", [1.0, 1.5, 2.5, 4.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_band_is_dilation_minus_erosion_of_every_mask(radius, seed):
    labels = blobs(seed)
    labels[20:, :9] = -1
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (y**2 + x**2 <= radius**2).astype(np.uint8)
    expected = np.zeros(labels.shape, bool)
    for segment in np.unique(labels[labels >= 0]):
        mask = (labels == segment).astype(np.uint8)
        expected |= (cv2.dilate(mask, disc) - cv2.erode(mask, disc)) > 0
    assert np.array_equal(border_band(labels, radius), expected)


@pytest.mark.parametrize("kind", ["contours", "band"])
def test_overlapping_masks_give_the_union_over_masks(kind):
    masks = overlapping_masks()
    options = TargetOptions(kind=kind)
    expected = np.zeros(masks.shape[1:], bool)
    for mask in masks:
        expected |= options.draw([np.where(mask, 0, -1)[None]])[0] > 0
    assert np.array_equal(options.draw([stack_masks(masks, masks.shape[1:])])[0] > 0, expected)


def test_annotators_are_counted_or_kept_apart():
    first, second = np.zeros((2, 6, 8), np.int32)
    first[:, 4:] = 1
    second[:, 4:] = 1
    second[3:, 4:] = 2
    maps = annotator_maps([first[None], second[None]])
    fraction = annotator_fraction(maps)
    assert fraction.dtype == np.float32
    assert np.all(fraction[:, 3] == 1)
    assert np.all(fraction[2, 4:] == 0.5)
    assert fraction.sum() == 6 + 4 * 0.5
    assert np.array_equal(TargetOptions(annotators="each").draw([first[None], second[None]]), maps.astype(np.float32))
    assert np.array_equal(TargetOptions().draw([first[None], second[None]]), fraction[None])


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="unknown kind of target 'contour': did you mean 'contours'"):
        TargetOptions(kind="contour")
    with pytest.raises(ValueError, match="unknown treatment of annotators 'all'"):
        TargetOptions(annotators="all")
    with pytest.raises(ValueError, match="use an odd width, and a radius of 1 or more"):
        TargetOptions(radius=0.5)
