"""Connected components against their slow twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subobject.segments.components import components, label_components, relabel

from .test_flood import FEW_LEVELS
from .twins import components_twin


@given(FEW_LEVELS)
def test_components_equal_twin(values: np.ndarray) -> None:
    labels, count = components(values)
    expected, expected_count = components_twin(values)
    assert count == expected_count
    assert labels.dtype == np.int32
    assert np.array_equal(labels, expected)


@given(FEW_LEVELS, st.integers(0, 5))
def test_components_of_a_value_equal_twin(values: np.ndarray, first: int) -> None:
    labels = np.full(values.shape, -7, np.int32)
    after = label_components(values, 1, labels, first)
    parts, _ = components_twin(values)
    kept = sorted(set(parts[values == 1].tolist()))
    assert after == first + len(kept)
    assert (labels[values != 1] == -7).all()
    assert labels[values == 1].tolist() == [first + kept.index(part) for part in parts[values == 1]]


def test_components_of_a_spiral_and_a_comb() -> None:
    comb = np.zeros((40, 41), np.uint8)
    comb[:-1, ::2] = 1
    comb[-1] = 1
    labels, count = components(comb)
    assert count == 21
    assert (labels[comb == 1] == 0).all()


def test_relabel_looks_up_each_label() -> None:
    labels = np.random.default_rng(0).integers(0, 9, (5, 70)).astype(np.int32)
    table = np.arange(9, dtype=np.int32)[::-1] * 3
    expected = table[labels]
    relabel(labels, table)
    assert np.array_equal(labels, expected)


def test_empty_image_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        components(np.zeros((0, 3), np.uint8))
