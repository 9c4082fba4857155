"""Components, flood and measures against their slow twins."""

import hashlib
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.segmentation import watershed

from subobject.segments.flood import components, flood, quantise, seeds_at_minima, seeds_below
from subobject.segments.measure import measure

from .twins import below_twin, borders_twin, components_twin, flood_twin, minima_twin

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))
FEW_LEVELS = hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1, 2, 90, 255]))
MAPS = hnp.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32))


def smooth_map(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw a smooth random map, ``(H, W)`` float32 in [0, 1]."""
    noise = np.random.default_rng(seed).random((height, width), np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 1, cv2.NORM_MINMAX).clip(0, 1)


@given(MAPS)
def test_quantise_rounds(probability: np.ndarray) -> None:
    levels = quantise(probability)
    assert levels.dtype == np.uint8
    assert np.abs(levels - probability * 255.0).max() <= 0.5 + 1e-4


@given(FEW_LEVELS)
def test_components_equal_twin(values: np.ndarray) -> None:
    labels, count = components(values)
    expected, expected_count = components_twin(values)
    assert count == expected_count
    assert labels.dtype == np.int32
    assert np.array_equal(labels, expected)


@given(FEW_LEVELS)
def test_minima_equal_twin(levels: np.ndarray) -> None:
    labels, count = seeds_at_minima(levels)
    expected, expected_count = minima_twin(levels)
    assert count == expected_count
    assert np.array_equal(labels, expected)


@given(MAPS, st.floats(0, 1))
def test_seeds_below_equal_twin(probability: np.ndarray, threshold: float) -> None:
    labels, count = seeds_below(probability, quantise(probability), threshold)
    expected, expected_count = below_twin(probability, quantise(probability), threshold)
    assert count == expected_count
    assert np.array_equal(labels, expected)


@given(FEW_LEVELS, st.data())
def test_flood_equals_twin(levels: np.ndarray, data: st.DataObject) -> None:
    seeds = data.draw(hnp.arrays(np.int32, levels.shape, elements=st.sampled_from([-1, -1, -1, 0, 1, 7])))
    seeds[data.draw(st.integers(0, levels.shape[0] - 1)), 0] = 3
    assert np.array_equal(flood(levels, seeds.copy()), flood_twin(levels, seeds))


def test_flood_equals_twin_where_queues_are_long() -> None:
    levels = quantise(smooth_map(60, 90))
    for seeds in (seeds_at_minima(levels)[0], seeds_below(levels / np.float32(255), levels, 0.2)[0]):
        assert np.array_equal(flood(levels, seeds.copy()), flood_twin(levels, seeds))


@pytest.mark.parametrize("size_hw", [(256, 256), (200, 331)])
def test_flood_agrees_with_scikit_image(size_hw: tuple[int, int]) -> None:
    probability = smooth_map(*size_hw)
    levels = quantise(probability)
    seeds, _ = seeds_below(probability, levels, 0.35)
    expected = watershed(levels, seeds + 1) - 1
    assert np.mean(flood(levels, seeds) == expected) >= 0.99


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


def test_flood_refuses_no_seed() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        flood(np.zeros((2, 2), np.uint8), np.full((2, 2), -1, np.int32))
    with pytest.raises(ValueError, match=r"expected shape \(2, 2\)"):
        flood(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.int32))


def test_empty_image_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        components(np.zeros((0, 3), np.uint8))


THREADED = """
import hashlib, cv2, numpy as np
from subobject.segments import SEGMENTERS, create_segmenter
from subobject.structures import Boundaries
cv2.setNumThreads({threads})
random = np.random.default_rng(5)
image = cv2.resize(random.integers(0, 256, (9, 12, 3), np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
boundaries = Boundaries(cv2.resize(random.random((15, 20), np.float32), (160, 120)))
digest = hashlib.sha256()
for name in SEGMENTERS:
    segmentation = create_segmenter(name)(image, boundaries, 40)
    for array in (segmentation.labels, segmentation.boxes, segmentation.tree.parents, segmentation.tree.strengths):
        digest.update(array.tobytes())
print(digest.hexdigest())
"""


def test_same_bytes_for_any_number_of_threads() -> None:
    digests = set()
    for threads in (1, 2):
        environment = os.environ | {"NUMBA_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", THREADED.format(threads=threads)]
        digests.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == hashlib.sha256().digest_size * 2


LARGE = """
import resource, sys
limit = 4 << 30
import cv2, numpy as np
from subobject.segments import create_segmenter
from subobject.structures import Boundaries
cv2.setNumThreads(1)
height, width = 9000, 12000
small = cv2.GaussianBlur(np.random.default_rng(0).random((900, 1200), np.float32), (0, 0), 4)
small = cv2.normalize(small, None, 0, 1, cv2.NORM_MINMAX)
boundaries = Boundaries(np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1))
image = cv2.resize(np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8), (width, height)) if {image} else None
segmentation = create_segmenter("watershed")(image, boundaries, 256)
assert segmentation.num_segments == 256 and segmentation.areas.sum() == height * width
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(peak)
sys.exit(peak > limit)
"""


@pytest.mark.long
@pytest.mark.parametrize("image", [False, True])
def test_huge_map_stays_within_four_gibibytes(image: bool) -> None:
    command = [sys.executable, "-c", LARGE.format(image=image)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"peak {result.stdout} bytes {result.stderr}"
