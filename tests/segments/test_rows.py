"""Positions of flags against numpy."""

import numpy as np
import pytest

from subobject.segments.rows import flag_row, flagged


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 101])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_flagged_finds_the_flags_of_a_row(width: int, share: float) -> None:
    flags, words = flag_row(width)
    flags[:] = np.random.default_rng(width).random(width) < share
    found = np.empty(width + 8, np.int32)
    count = flagged(words, found)
    assert flags.shape == (width,)
    assert found[:count].tolist() == np.flatnonzero(flags).tolist()
