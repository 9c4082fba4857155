"""Contact sheets."""

import numpy as np

from subobject.viewer.sheet import captioned, sheet


def test_a_caption_adds_a_strip_and_leaves_the_picture():
    picture = np.random.default_rng(0).integers(0, 256, (30, 80, 3), dtype=np.uint8)
    with_text = captioned(picture, "seqae, 24.1 dB")
    assert with_text.shape == (52, 80, 3)
    assert np.array_equal(with_text[:30], picture)
    assert with_text[30:].min() < 100
    assert np.all(captioned(picture, "")[30:] == 255)


def test_pictures_of_any_sizes_lie_side_by_side():
    dark, light = np.full((20, 30, 3), 10, np.uint8), np.full((40, 25, 3), 200, np.uint8)
    whole = sheet([[("", dark), ("", light)], [("", light)]])
    assert whole.shape == (40 + 22 + 40 + 22, 55, 3)
    assert np.all(whole[:20, :30] == 10)
    assert np.all(whole[:40, 30:55] == 200)
    assert np.all(whole[42:62, :30] == 255)
    assert np.all(whole[62:102, :25] == 200)
