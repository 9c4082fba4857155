"""The flood against its slow twin, and its promises."""

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

from subobject.segments.flood import flood, flood_from_minima, quantise, seeds_below

from .twins import below_twin, flood_twin, minima_twin, reached_at_twin

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
def test_basins_of_minima_equal_twin(levels: np.ndarray) -> None:
    labels, count = flood_from_minima(levels)
    minima, expected_count = minima_twin(levels)
    assert count == expected_count
    assert np.array_equal(labels, flood_twin(levels, minima))
    assert np.array_equal(labels, flood(levels, minima))


@given(MAPS, st.floats(0, 1))
def test_seeds_below_equal_twin(probability: np.ndarray, threshold: float) -> None:
    labels, count = seeds_below(probability, quantise(probability), threshold)
    expected, expected_count = below_twin(probability, quantise(probability), threshold)
    assert count == expected_count
    assert np.array_equal(labels, expected)


@given(FEW_LEVELS, st.data())
def test_flood_equals_twin(levels: np.ndarray, data: st.DataObject) -> None:
    seeds = data.draw(hnp.arrays(np.int32, levels.shape, elements=st.sampled_from([-1, -1, -1, -1, -1, 0, 1, 7])))
    seeds[data.draw(st.integers(0, levels.shape[0] - 1)), 0] = 3
    labels = flood(levels, seeds.copy())
    assert np.array_equal(labels, flood_twin(levels, seeds))
    assert np.array_equal(labels[seeds >= 0], seeds[seeds >= 0])
    everywhere = reached_at_twin(levels, seeds, np.zeros_like(seeds))
    assert np.array_equal(reached_at_twin(levels, seeds, labels), everywhere), "a lower pass leads to another seed"


def test_flood_equals_twin_where_plateaus_and_paths_are_long() -> None:
    levels = quantise(smooth_map(60, 90)) // 12 * 12
    minima, _ = minima_twin(levels)
    assert np.array_equal(flood_from_minima(levels)[0], flood_twin(levels, minima))
    seeds, _ = seeds_below(levels / np.float32(255), levels, 0.2)
    assert np.array_equal(flood(levels, seeds.copy()), flood_twin(levels, seeds))


def test_a_plateau_is_shared_by_distance() -> None:
    levels = np.array([[0, 9, 9, 9, 9, 9, 9, 1]], np.uint8)
    assert flood_from_minima(levels)[0].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]


def test_a_basin_without_seed_joins_across_its_lowest_pass() -> None:
    levels = np.array([[0, 5, 2, 4, 1, 3, 0]], np.uint8)
    seeds = np.array([[0, -1, -1, -1, -1, -1, 1]], np.int32)
    assert flood(levels, seeds).tolist() == [[0, 0, 1, 1, 1, 1, 1]]


def test_flood_makes_room_for_a_seed_in_many_pieces() -> None:
    levels = np.where(np.indices((40, 40)).sum(axis=0) % 2, 200, 100).astype(np.uint8)
    seeds = np.where(np.arange(1600).reshape(40, 40) % 7 == 0, np.arange(1600).reshape(40, 40) % 30, -1).astype(np.int32)
    assert np.array_equal(flood(levels, seeds.copy()), flood_twin(levels, seeds))


@pytest.mark.parametrize("size_hw", [(256, 256), (200, 331)])
def test_flood_agrees_with_scikit_image(size_hw: tuple[int, int]) -> None:
    probability = smooth_map(*size_hw)
    levels = quantise(probability)
    seeds, _ = seeds_below(probability, levels, 0.35)
    expected = watershed(levels, seeds + 1) - 1
    labels = flood(levels, seeds.copy())
    assert np.mean(labels == expected) >= 0.95
    assert np.array_equal(reached_at_twin(levels, seeds, labels), reached_at_twin(levels, seeds, expected)), "not ties only"


def test_flood_refuses_no_seed() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        flood(np.zeros((2, 2), np.uint8), np.full((2, 2), -1, np.int32))
    with pytest.raises(ValueError, match=r"expected shape \(2, 2\)"):
        flood(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.int32))


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
