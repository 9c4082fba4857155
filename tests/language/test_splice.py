"""Splicing, labels and layouts against hand-written ones and slow twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subobject.language.splice import IGNORED, Places, Spliced, bins, expand, label, lay_out, stack_tokens

PLACES = Places(image=1, soi=2, eoi=3)


def slow_expand(ids, counts):
    counts = iter(counts)
    spliced = []
    for one in ids:
        spliced += [2] + [1] * next(counts) + [3] if one == 1 else [one]
    return spliced


@given(st.lists(st.one_of(st.just(None), st.integers(0, 4)), max_size=12))
def test_places_expand_to_marked_images(parts):
    ids = np.array([1 if part is not None else 9 for part in parts], dtype=np.int64)
    counts = [part for part in parts if part is not None]
    assert expand(ids, counts, PLACES).tolist() == slow_expand(ids, counts)


@pytest.mark.parametrize(
    ("ids", "counts", "message"),
    [
        ([9, 1], [], "1 image places, but 0 images"),
        ([9], [3], "0 image places, but 1 images"),
        ([2, 1, 3], [1], "write only <image>"),
    ],
)
def test_texts_that_do_not_fit_are_refused(ids, counts, message):
    with pytest.raises(ValueError, match=message):
        expand(np.array(ids), counts, PLACES)


def test_images_markers_and_the_first_token_are_never_targets():
    ids = np.array([7, 2, 1, 1, 3, 8, 9])
    assert label(ids, np.ones(7, dtype=bool), PLACES).labels.tolist() == [IGNORED] * 5 + [8, 9]
    assert label(ids, ids == 9, PLACES).labels.tolist() == [IGNORED] * 6 + [9]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30), st.integers(20, 40))
def test_rows_hold_every_sequence_once_within_their_length(lengths, capacity):
    rows = bins(lengths, capacity)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= capacity for row in rows)
    # First fit leaves at most one row half empty.
    assert sum(sum(lengths[index] for index in row) <= capacity // 2 for row in rows) <= 1


def test_a_sequence_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="a sequence of 9 tokens does not fit a row of 8"):
        bins([3, 9], 8)


def sequences(*lengths):
    return [Spliced(np.full(length, 10 + i), np.full(length, 20 + i)) for i, length in enumerate(lengths)]


def test_padding_goes_to_the_wanted_side():
    right = lay_out(sequences(2, 3), [[0], [1]], pad_id=0)
    assert right.ids.tolist() == [[10, 10, 0], [11, 11, 11]]
    assert right.labels.tolist() == [[20, 20, IGNORED], [21, 21, 21]]
    assert right.mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    left = lay_out(sequences(2, 3), [[0], [1]], pad_id=0, side="left")
    assert left.ids.tolist() == [[0, 10, 10], [11, 11, 11]]
    assert left.positions.tolist() == [[0, 0, 1], [0, 1, 2]]


def test_packed_positions_start_again_with_every_sequence_and_with_the_padding():
    rows = lay_out(sequences(2, 3, 4), [[0, 1], [2]], pad_id=0)
    assert rows.ids.tolist() == [[10, 10, 11, 11, 11], [12, 12, 12, 12, 0]]
    assert rows.positions.tolist() == [[0, 1, 0, 1, 2], [0, 1, 2, 3, 0]]


def test_tokens_of_a_row_are_laid_one_after_the_other():
    images = [np.full((count, 2), count, dtype=np.float32) for count in (1, 2, 3)]
    stacked = stack_tokens(images, [[2], [0, 1], []])
    assert stacked[..., 0].tolist() == [[3, 3, 3], [1, 2, 2], [0, 0, 0]]
