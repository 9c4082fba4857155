"""Scores of label maps, computed by hand."""

import numpy as np
import pytest

from subobject.metrics import segments
from subobject.metrics.boundaries import boundary_counts, boundary_scores

HALVES = np.repeat([[0] * 6 + [1] * 6], 4, axis=0)  # 4 x 12, border after column 6.
SHIFTED = np.repeat([[0] * 4 + [1] * 8], 4, axis=0)
QUARTERS = np.repeat([[0] * 3 + [1] * 3 + [2] * 3 + [3] * 3], 4, axis=0)
WHOLE = np.zeros((4, 12), dtype=int)


def test_scores_of_a_shifted_border():
    annotators = HALVES[None]
    # Table: (16, 0), (8, 24) of 48 pixels.
    assert segments.contingency(SHIFTED, HALVES).tolist() == [[16, 0], [8, 24]]
    assert segments.undersegmentation_error(SHIFTED, annotators) == pytest.approx((8 + 8) / 48)
    assert segments.achievable_accuracy(SHIFTED, annotators) == pytest.approx(40 / 48)
    assert segments.covering(SHIFTED, annotators) == pytest.approx((24 * 16 / 24 + 24 * 24 / 32) / 48)


def test_scores_of_a_finer_and_of_no_partition():
    annotators = HALVES[None]
    assert segments.undersegmentation_error(QUARTERS, annotators) == 0
    assert segments.achievable_accuracy(QUARTERS, annotators) == 1
    assert segments.covering(QUARTERS, annotators) == 0.5
    assert segments.undersegmentation_error(WHOLE, annotators) == 1
    assert segments.achievable_accuracy(WHOLE, annotators) == segments.covering(WHOLE, annotators) == 0.5


def test_scores_are_means_over_annotators():
    both = np.stack([HALVES, SHIFTED])
    assert segments.achievable_accuracy(SHIFTED, both) == pytest.approx((40 / 48 + 1) / 2)
    assert segments.undersegmentation_error(SHIFTED, both) == pytest.approx(16 / 48 / 2)


def test_explained_variation():
    image = np.repeat(HALVES[..., None] * 10.0, 3, axis=2)
    assert segments.explained_variation(HALVES, image) == pytest.approx(1)
    assert segments.explained_variation(WHOLE, image) == pytest.approx(0)
    # Means 0 and 7.5 of values 0 and 10 about 5: (16 * 25 + 32 * 2.5 ** 2) of 48 * 25.
    assert segments.explained_variation(SHIFTED, image) == pytest.approx((16 * 25 + 32 * 6.25) / (48 * 25))
    assert segments.explained_variation(HALVES, np.full_like(image, 3)) == 1


def test_boundary_recall_and_precision():
    # Borders are columns 5 (halves), 3 (shifted), and 2, 5, 8 (quarters); the diagonal is 12.65.
    assert segments.boundary_recall_precision(QUARTERS, HALVES[None], 0) == (1, pytest.approx(1 / 3))
    assert segments.boundary_recall_precision(SHIFTED, HALVES[None], 1.9 / 12.65) == (0, 0)
    assert segments.boundary_recall_precision(SHIFTED, HALVES[None], 2.1 / 12.65) == (1, 1)
    assert segments.boundary_recall_precision(WHOLE, HALVES[None], 1) == (0, 1)


def test_monosemanticity():
    # Interior farther than 1 pixel from other tokens: columns 0-4 and 7-11; the annotated border lies in column 5 or 3.
    tolerance = 1 / 12.65
    assert segments.monosemanticity(HALVES, HALVES[None], tolerance) == (1, 1)
    assert segments.monosemanticity(HALVES, SHIFTED[None], tolerance) == (0.5, 0.5)
    # The border in column 5 lies in the second token of the shifted map, two thirds of the area.
    assert segments.monosemanticity(SHIFTED, HALVES[None], tolerance) == (0.5, pytest.approx(1 / 3))
    assert segments.monosemanticity(WHOLE, HALVES[None], tolerance) == (0, 0)
    # Without interior, every token passes.
    assert segments.monosemanticity(QUARTERS, SHIFTED[None], 5 / 12.65) == (1, 1)


@pytest.mark.parametrize("radius", [0, 1, 2, 3])
def test_interior_equals_its_definition(radius):
    labels = np.random.default_rng(radius).integers(0, 3, (3, 4)).repeat(5, axis=0).repeat(4, axis=1)
    padded = np.pad(labels, radius, mode="edge")
    expected = np.ones(labels.shape, dtype=bool)
    for dy in range(2 * radius + 1):
        for dx in range(2 * radius + 1):
            expected &= padded[dy : dy + labels.shape[0], dx : dx + labels.shape[1]] == labels
    np.testing.assert_array_equal(segments._interior(labels, radius), expected)


def test_perfect_map_covers_everything():
    labels = np.kron(np.array([[0, 1], [2, 3]]), np.ones((20, 30), dtype=int))
    probability = segments.boundary_map(labels).astype(np.float32)
    counts = segments.region_covering(probability, labels[None], np.array([0.3, 0.6]))
    scores = segments.covering_scores([counts])
    assert scores["ods"] == scores["ois"] == scores["best"] > 0.95
    assert boundary_scores([boundary_counts(probability, probability[None] > 0)])["ods"] == 1


def test_covering_pools_images_and_thresholds():
    thresholds = np.array([0.2, 0.4])
    first = segments.CoveringCounts(thresholds, np.array([8.0, 4.0]), 9.0, 10)
    second = segments.CoveringCounts(thresholds, np.array([2.0, 7.0]), 7.5, 10)
    assert segments.covering_scores([first, second]) == {"ods": 0.55, "ois": 0.75, "best": 0.825, "threshold": 0.4}


def test_cut_gives_lines_to_the_nearest_component():
    probability = np.zeros((5, 9), dtype=np.float32)
    probability[:, 3:5] = 0.5
    labels = segments.cut_map(probability, 0.5)
    assert labels[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert segments.cut_map(probability, 0.6).max() == 0
    assert segments.cut_map(np.ones((2, 3), dtype=np.float32), 0.5).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="differ in size"):
        segments.contingency(WHOLE, WHOLE.T)
    with pytest.raises(ValueError, match="from 0"):
        segments.contingency(WHOLE - 1, WHOLE)
    with pytest.raises(ValueError, match="expected annotations"):
        segments.covering(WHOLE, HALVES)
    with pytest.raises(ValueError, match="expected shape"):
        segments.explained_variation(WHOLE, np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="at least one"):
        segments.covering_scores([])


def test_segment_scores_has_every_score():
    scores = segments.segment_scores(HALVES, HALVES[None], np.repeat(HALVES[..., None] * 10, 3, axis=2))
    assert {key: round(value, 6) for key, value in scores.items()} == {
        "recall": 1, "precision": 1, "ue": 0, "asa": 1, "covering": 1, "explained_variation": 1,
        "monosemanticity": 1, "monosemanticity_area": 1,
    }  # fmt: skip
