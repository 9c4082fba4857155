"""Overlay pictures."""

import numpy as np

from subobject import segment
from subobject.viewer.overlay import draw_borders, fill_segments, overlay


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
