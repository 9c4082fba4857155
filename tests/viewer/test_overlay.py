"""Overlay pictures."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from subobject import segment
from subobject.viewer.overlay import draw_borders, draw_numbers, fill_segments, innermost, overlay


def test_borders_lie_between_segments_and_nowhere_else(blocks):
    segmentation = segment(blocks, segmenter="gradient", max_segments=4)
    picture = draw_borders(blocks, segmentation.labels)
    changed = np.any(picture != blocks, axis=2)
    assert changed[18:21].all()
    assert changed[:, 28:31].all()
    assert not changed[:17, :27].any()


def test_segments_are_filled_with_their_mean_colour(blocks):
    segmentation = segment(blocks, segmenter="gradient", max_segments=4)
    assert np.abs(fill_segments(blocks, segmentation)[2:18, 2:28].astype(int) - blocks[0, 0]).max() <= 2


def test_an_overlay_shows_both_side_by_side_and_stacks_wide_images(blocks):
    assert overlay(blocks, segment(blocks, segmenter="gradient", max_segments=4)).shape == (40, 120, 3)
    wide = np.concatenate([blocks, blocks], axis=1)
    assert overlay(wide, segment(wide, segmenter="gradient", max_segments=4)).shape == (80, 120, 3)


def test_the_rim_is_dark_around_the_border(blocks):
    labels = np.repeat([[0] * 30 + [1] * 30], 40, axis=0)
    picture = draw_borders(blocks, labels)
    assert (picture[:, 29] == (255, 230, 0)).all()
    for column in (28, 30):
        assert np.array_equal(picture[:, column], blocks[:, column] // 2)
    assert np.array_equal(picture[:, [27, 31]], blocks[:, [27, 31]])


def test_innermost_pixels_are_the_deepest():
    labels = np.zeros((30, 70), dtype=np.int32)
    labels[:, 60:] = 3
    labels[2:5, 3:10] = 2
    places = {index: (y, x, radius) for index, y, x, radius in innermost(labels, 4)}
    assert sorted(places) == [0, 2, 3]
    # Segment 3 is 10 columns wide: its pixels in columns 64 and 65 lie 5 columns from the outside, but for 4 rows at the ends.
    assert places[3] == (4, 64, 5)
    assert places[2] == (3, 4, 2)
    for index, (y, x, radius) in places.items():
        outside = distance_transform_edt(np.pad(labels == index, 1))[1:-1, 1:-1]
        assert outside[y, x] == pytest.approx(outside.max(), abs=0.5)
        assert radius == pytest.approx(outside[y, x], abs=0.5)


def test_numbers_are_written_where_there_is_room():
    labels = np.zeros((60, 90), dtype=np.int32)
    labels[:, 45:] = 1
    labels[:4, :4] = 2
    picture = draw_numbers(np.full((60, 90, 3), 128, np.uint8), labels, 3)
    changed = np.any(picture != 128, axis=2)
    assert changed[labels == 0].any()
    assert changed[labels == 1].any()
    assert not changed[labels == 2].any()
    assert picture.min() == 0
    assert picture.max() == 255
    y, x = np.nonzero(changed & (labels == 1))
    (middle,) = [(y, x) for index, y, x, _ in innermost(labels, 3) if index == 1]
    assert np.abs(np.array([y.mean(), x.mean()]) - middle).max() < 2


def test_large_images_are_shown_smaller(blocks):
    large = np.kron(blocks, np.ones((1, 40, 1), np.uint8))
    picture = overlay(large, segment(large, segmenter="gradient", max_segments=4))
    assert picture.shape == (2 * 34, 2048, 3)
