"""The contract of every member of the table, and what sets members apart."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from subobject.segments import SEGMENTERS, Segmenter, create_segmenter
from subobject.segments.colour import colour_gradient
from subobject.segments.patches import grid_labels, tile_labels
from subobject.structures import Boundaries

from .test_flood import smooth_map
from .twins import NEIGHBOURS, check_segmentation, is_nested

EVERY = pytest.mark.parametrize("name", sorted(SEGMENTERS))


def scene(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, Boundaries]:
    """Draw a picture of a few coloured blots with noise, and a boundary map."""
    random = np.random.default_rng(seed)
    image = cv2.resize(random.integers(0, 256, (5, 6, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    image = np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    return image, Boundaries(
        smooth_map(height, width, seed) if min(height, width) > 8 else random.random((height, width), np.float32)
    )


@EVERY
@settings(max_examples=12)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99), budget=st.one_of(st.none(), st.integers(1, 90))
)
def test_contract(name: str, height: int, width: int, seed: int, budget: int | None) -> None:
    image, boundaries = scene(height, width, seed)
    segmenter: Segmenter = create_segmenter(name)
    segmentation = segmenter(image, boundaries if segmenter.needs_boundaries else None, budget)
    check_segmentation(segmentation, (height, width))
    if budget is not None:
        assert segmentation.num_segments <= budget
    for coarser in (max(1, segmentation.num_segments // 2), 1):
        cut = segmentation.cut(max_segments=coarser)
        assert cut.num_segments == coarser
        assert is_nested(segmentation.labels, cut.labels)
        check_segmentation(cut, (height, width))
    assert segmentation.tree.strengths.max() <= 1


@EVERY
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (1, 5000), (5000, 1)])
def test_extreme_shapes(name: str, size_hw: tuple[int, int]) -> None:
    image, boundaries = scene(*size_hw)
    segmentation = create_segmenter(name)(image, boundaries, 7)
    assert segmentation.size_hw == size_hw
    assert 1 <= segmentation.num_segments <= 7


@EVERY
@pytest.mark.parametrize("budget", [16, 64, 120])
def test_budgets_are_met(name: str, budget: int) -> None:
    image, boundaries = scene(160, 240)
    segmentation = create_segmenter(name, **({"side": 8} if name == "tiles" else {}))(image, boundaries, budget)
    if name == "patches":
        assert segmentation.num_segments == int(budget**0.5) ** 2
    else:
        assert segmentation.num_segments == budget


@EVERY
def test_flat_image(name: str) -> None:
    image = np.full((33, 47, 3), 128, np.uint8)
    segmentation = create_segmenter(name)(image, Boundaries(np.zeros((33, 47), np.float32)), 9)
    check_segmentation(segmentation, (33, 47))
    assert segmentation.num_segments <= 9


@EVERY
def test_budget_below_one_is_refused(name: str) -> None:
    image, boundaries = scene(12, 12)
    with pytest.raises(ValueError, match="max_segments is 0: use 1 or more"):
        create_segmenter(name)(image, boundaries, 0)


@EVERY
def test_inputs_stay_as_they_are(name: str) -> None:
    image, boundaries = scene(30, 30)
    before, map_before = image.copy(), boundaries.probability.copy()
    create_segmenter(name)(image, boundaries, 5)
    assert np.array_equal(image, before)
    assert np.array_equal(boundaries.probability, map_before)


def test_grid_cells_differ_by_at_most_a_pixel() -> None:
    for size_hw, rows, columns in (((10, 7), 3, 4), ((100, 33), 16, 16), ((2, 5), 4, 4)):
        labels = grid_labels(size_hw, rows, columns)
        rows, columns = min(rows, size_hw[0]), min(columns, size_hw[1])
        assert labels.max() + 1 == rows * columns
        for side, count in ((labels[:, 0] // columns, rows), (labels[0] % columns, columns)):
            sizes = np.bincount(side, minlength=count)
            assert sizes.max() - sizes.min() <= 1


def test_tiles_are_squares_but_for_the_last() -> None:
    labels = tile_labels((5, 7), 3)
    assert labels.tolist()[0] == [0, 0, 0, 1, 1, 1, 2]
    assert labels[:, 0].tolist() == [0, 0, 0, 3, 3]


def test_watershed_takes_seeds_below_a_threshold() -> None:
    probability = np.zeros((9, 9), np.float32)
    probability[4] = 1
    probability[1, 1] = 0.1
    segmentation = create_segmenter("watershed", seed_threshold=0.5)(np.zeros((9, 9, 3), np.uint8), Boundaries(probability))
    assert segmentation.num_segments == 2


def test_watershed_follows_the_image_where_the_map_is_silent() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, 10:] = 200
    silent = Boundaries(np.zeros((20, 20), np.float32))
    assert create_segmenter("watershed")(image, silent).num_segments == 2
    assert create_segmenter("watershed", colour_weight=0)(image, silent).num_segments == 1


def test_watershed_works_without_an_image() -> None:
    assert create_segmenter("watershed")(None, Boundaries(smooth_map(50, 50)), 8).num_segments == 8  # type: ignore[arg-type]


def test_watershed_refuses_what_does_not_fit() -> None:
    image, boundaries = scene(12, 12)
    with pytest.raises(ValueError, match="needs a boundary map"):
        create_segmenter("watershed")(image, None)
    with pytest.raises(ValueError, match=r"expected the size \(12, 12\)"):
        create_segmenter("watershed")(image[:5], boundaries)
    with pytest.raises(ValueError, match="seed_threshold is 2"):
        create_segmenter("watershed", seed_threshold=2)
    with pytest.raises(ValueError, match="colour_weight is -1"):
        create_segmenter("watershed", colour_weight=-1)


def test_colour_gradient_is_the_largest_difference_to_a_neighbour() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    smooth = np.rint(gaussian_filter(image.astype(float), (1, 1, 0), mode="nearest", radius=(2, 2, 0)))
    lab = rgb2lab(smooth.astype(np.uint8))
    framed = np.pad(lab, ((1, 1), (1, 1), (0, 0)), "edge")
    differences = [np.linalg.norm(framed[1 + dy : 7 + dy, 1 + dx : 10 + dx] - lab, axis=2) for dy, dx in NEIGHBOURS]
    np.testing.assert_allclose(colour_gradient(image), np.minimum(1, np.max(differences, axis=0) / 100), atol=2e-4)


@pytest.mark.parametrize("name", ["slic", "seeds", "felzenszwalb"])
def test_without_opencv_superpixels_name_their_extra(name: str) -> None:
    code = f"""import sys; sys.modules["cv2"] = None
from subobject.segments import create_segmenter
try: create_segmenter({name!r})
except ModuleNotFoundError as error: print(error)"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 'pip install "subobject[classical]"' in said
    assert said.count("\n") == 1


def test_unknown_name_and_light_import() -> None:
    with pytest.raises(ValueError, match="did you mean 'slic'"):
        create_segmenter("slik")
    code = "import sys, subobject.segments; print([name for name in ('numba', 'cv2', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
