"""Measures of segments and borders against their slow twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from subobject.segments.components import components
from subobject.segments.measure import measure

from .test_flood import MAPS
from .twins import borders_twin


@given(MAPS, st.data())
def test_measure_equals_twin(strength: np.ndarray, data: st.DataObject) -> None:
    image = data.draw(hnp.arrays(np.uint8, (*strength.shape, 3)))
    labels, count = components(data.draw(hnp.arrays(np.uint8, strength.shape, elements=st.integers(0, 2))))
    found = measure(labels, count, strength, image)
    borders = borders_twin(labels, strength)
    assert [tuple(pair) for pair in found.pairs.tolist()] == list(borders)
    assert found.lengths.tolist() == [len(values) for values in borders.values()]
    np.testing.assert_allclose(found.strengths, [np.mean(values) for values in borders.values()], rtol=1e-6)
    assert found.colours is not None
    for segment in range(count):
        y, x = np.nonzero(labels == segment)
        assert found.areas[segment] == len(y)
        assert found.boxes[segment].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        np.testing.assert_allclose(found.colours[segment], image[y, x].mean(axis=0), rtol=1e-6)


def test_measure_without_image_has_no_colours() -> None:
    assert measure(np.zeros((2, 3), np.int32), 1, np.zeros((2, 3), np.float32)).colours is None


def test_measure_refuses_labels_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"expected values 0 \.\. 0, got 0 \.\. 1"):
        measure(np.array([[0, 1]], np.int32), 1, np.zeros((1, 2), np.float32))


def test_measure_refuses_scattered_labels() -> None:
    labels = np.random.default_rng(0).integers(0, 12, (40, 40)).astype(np.int32)
    with pytest.raises(ValueError, match="4-connected"):
        measure(labels, 12, np.zeros((40, 40), np.float32))


def test_measure_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"expected the size \(1, 2\)"):
        measure(np.zeros((1, 2), np.int32), 1, np.zeros((2, 2), np.float32))
