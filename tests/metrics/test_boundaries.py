"""Boundary scores on hand-made maps, and non-maximum suppression."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from subobject.metrics.boundaries import BoundaryCounts, boundary_counts, boundary_scores, suppress_non_maxima


def line(row: int) -> np.ndarray:
    mask = np.zeros((60, 80), dtype=bool)  # Diagonal 100: pairs at most 0.75 pixels apart.
    mask[row, 10:70] = True
    return mask


def counts(recalled, annotated, correct, predicted) -> BoundaryCounts:
    rows = (np.array(values, dtype=np.int64) for values in (recalled, annotated, correct, predicted))
    return BoundaryCounts(np.arange(1, len(recalled) + 1) / (len(recalled) + 1), *rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_perfect_map_scores_one(dtype):
    scores = boundary_scores([boundary_counts(line(30).astype(dtype), line(30)[None])])
    assert scores["ods"] == scores["ois"] == scores["r50"] == 1
    # One recall only, so there is no curve to integrate.
    assert scores["ap"] == 0


def test_counts_against_two_annotators():
    probability = np.where(line(30), 0.6, 0) + np.where(line(10), 0.3, 0)
    result = boundary_counts(probability, np.stack([line(30), line(50)]), np.array([0.2, 0.5, 0.9]))
    assert result.predicted.tolist() == [120, 60, 0]
    assert result.correct.tolist() == [60, 60, 0]
    assert result.recalled.tolist() == [60, 60, 0]
    assert result.annotated.tolist() == [120, 120, 120]
    f, threshold = result.best_f()
    assert f == pytest.approx(2 * 0.5 / 1.5)
    assert threshold == 0.5


def test_a_pixel_right_for_two_annotators_is_correct_once_and_recalled_twice():
    result = boundary_counts(line(30).astype(np.float32), np.stack([line(30), line(30)]), np.array([0.5]))
    assert (result.correct[0], result.recalled[0]) == (60, 120)


def test_threshold_is_inclusive_for_stored_maps():
    stored = np.where(line(30), 51, 0) / 255
    for probability in (stored, stored.astype(np.float32)):
        assert boundary_counts(probability, line(30)[None], np.array([0.2])).predicted[0] == 60


def test_tolerance_is_a_fraction_of_the_diagonal():
    far = boundary_counts(line(31).astype(np.float32), line(30)[None], np.array([0.5]))
    assert far.correct[0] == 0
    larger = np.pad(line(31), 40), np.pad(line(30), 40)  # Diagonal 213: 1.6 pixels.
    near = boundary_counts(larger[0].astype(np.float32), larger[1][None], np.array([0.5]))
    assert near.correct[0] == 60


def test_pooling_by_hand():
    first = counts([8, 4], [10, 10], [8, 4], [16, 4])
    second = counts([6, 4], [10, 10], [6, 4], [24, 4])
    scores = boundary_scores([first, second])
    # First image: F 0.615 and 0.571; second: 0.353 and 0.571. OIS takes threshold 0 and 1: recall 12/20, precision 12/20.
    assert scores["ois"] == pytest.approx(0.6)
    # Pooled points: recall .7, precision .35; recall .4, precision 1. The best F lies between them.
    between = np.linspace(0, 1, 100)
    recall, precision = 0.7 - 0.3 * between, 0.35 + 0.65 * between
    assert scores["ods"] == pytest.approx((2 * recall * precision / (recall + precision)).max())
    grid = np.arange(40, 71) / 100
    assert scores["ap"] == pytest.approx(np.interp(grid, [0.4, 0.7], [1, 0.35]).sum() / 100)
    assert scores["r50"] == pytest.approx(np.interp(0.5, [0.35, 1], [0.7, 0.4]))


def test_r50_is_zero_where_no_threshold_is_that_precise():
    assert boundary_scores([counts([5, 4], [10, 10], [5, 4], [20, 16])])["r50"] == 0


def test_empty_maps_score_zero():
    empty = np.zeros((60, 80), dtype=np.float32)
    scores = boundary_scores([boundary_counts(empty, line(30)[None])])
    assert scores["ods"] == scores["ois"] == scores["ap"] == scores["r50"] == 0


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        boundary_scores([])
    with pytest.raises(ValueError, match="different thresholds"):
        boundary_scores([counts([1], [1], [1], [1]), counts([1, 1], [1, 1], [1, 1], [1, 1])])
    with pytest.raises(ValueError, match="ascending"):
        boundary_counts(np.zeros((4, 4), dtype=np.float32), np.zeros((1, 4, 4), dtype=bool), np.array([0.5, 0.4]))
    with pytest.raises(ValueError, match="got"):
        boundary_counts(np.zeros((4, 4), dtype=np.float32), np.zeros((1, 4, 5), dtype=bool))


@pytest.mark.parametrize("slope", [0, 0.4, 1, -0.7, 3])
def test_suppression_keeps_the_crest_of_a_thick_line(slope):
    y, x = np.mgrid[:61, :81].astype(float)
    distance = ((y - 30) - slope * (x - 40)) / np.hypot(1, slope)
    sharp = suppress_non_maxima(np.exp(-np.square(distance / 3)).astype(np.float32))
    inside = (slice(8, -8), slice(8, -8))
    kept = (sharp > 0.1)[inside]
    assert np.abs(distance[inside][kept]).max() < 1.0
    assert kept[np.abs(distance[inside]) < 0.3].all()
    assert sharp.max() > 0.9


def test_suppression_is_defined_on_any_size():
    rng = np.random.default_rng(0)
    for size_hw in ((1, 1), (1, 20), (3, 2), (12, 11), (40, 50)):
        field = gaussian_filter(rng.random(size_hw), 1)
        result = suppress_non_maxima(field)
        assert result.shape == size_hw
        assert result.dtype == np.float32
        assert 0 <= result.min() <= result.max() <= 1
