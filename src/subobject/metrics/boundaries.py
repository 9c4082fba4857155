"""Boundary scores of the Berkeley benchmark: ODS, OIS, AP and R50.

The benchmark (Martin et al., TPAMI 2004; Arbelaez et al., TPAMI 2011) binarises a map with ``>=`` at each threshold, thins it,
and matches it with each annotator's boundary map one to one within 0.0075 of the image diagonal. Recall counts matched annotator
pixels over the pixels of all annotators; precision counts machine pixels matched with any annotator over machine pixels. The
matching differs from the original's in the choice among matchings of the largest size; see ``matching``.

``suppress_non_maxima`` prepares soft, thick maps of networks, as is usual for them (Dollar and Zitnick, TPAMI 2015).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from subobject.filters import convolve
from subobject.metrics.matching import match_pixels, thin

TOLERANCE = 0.0075
THRESHOLDS = np.arange(1, 100) / 100

_FINE_STEPS = 100
_ORIENTATION_RADIUS = 4
_MARGIN = 5
_SLACK = 1.01


@dataclass(frozen=True, eq=False)
class BoundaryCounts:
    """Pixel counts of one image at ``T`` thresholds; each field ``(T,)``, counts int64.

    Attributes:
        thresholds: Ascending, float64.
        recalled: Matched annotator pixels, summed over annotators.
        annotated: Annotator pixels, summed over annotators.
        correct: Machine pixels matched with at least one annotator.
        predicted: Machine pixels after thinning.
    """

    thresholds: np.ndarray
    recalled: np.ndarray
    annotated: np.ndarray
    correct: np.ndarray
    predicted: np.ndarray

    def best_f(self) -> tuple[float, float]:
        """Return this image's best F measure and the threshold that gives it."""
        f = _f_measure(*_recall_precision(self.recalled, self.annotated, self.correct, self.predicted))
        best = int(np.argmax(f))
        return float(f[best]), float(self.thresholds[best])


def boundary_counts(probability: np.ndarray, annotators: np.ndarray, thresholds: np.ndarray = THRESHOLDS) -> BoundaryCounts:
    """Count matched pixels of one image at every threshold.

    Args:
        probability: Boundary map, ``(H, W)`` float in [0, 1].
        annotators: Thinned boundary map of each annotator, ``(A, H, W)`` bool, at least one.
        thresholds: Ascending, ``(T,)`` float; the benchmark's are 0.01 .. 0.99.

    Raises:
        ValueError: If the shapes do not fit or the thresholds do not ascend.
    """
    thresholds = check_thresholds(thresholds)
    check_annotators(probability, annotators)
    radius = TOLERANCE * float(np.hypot(*probability.shape))
    counts = np.zeros((3, len(thresholds)), dtype=np.int64)
    before: int | None = None
    for i, threshold in enumerate(thresholds.astype(probability.dtype)):
        mask = probability >= threshold
        size = int(np.count_nonzero(mask))
        if size == before:  # Binarised maps are nested: equally many pixels are the same pixels.
            counts[:, i] = counts[:, i - 1]
            continue
        before = size
        lines = thin(mask)
        correct = np.zeros_like(lines)
        for annotator in annotators:
            matched, recalled = match_pixels(lines, annotator, radius)
            correct |= matched
            counts[0, i] += np.count_nonzero(recalled)
        counts[1:, i] = np.count_nonzero(correct), np.count_nonzero(lines)
    annotated = np.full(len(thresholds), np.count_nonzero(annotators), dtype=np.int64)
    return BoundaryCounts(thresholds, counts[0], annotated, counts[1], counts[2])


def boundary_scores(counts: Sequence[BoundaryCounts]) -> dict[str, float]:
    """Pool the counts of a data set's images.

    Args:
        counts: One member an image, all at the same thresholds.

    Returns:
        ``ods``: best F of the pooled counts at one threshold for all images, linear between thresholds. ``ois``: F of the counts
        pooled at each image's best threshold. ``ap``: area under the precision-recall curve, linear between its points and 0
        where no threshold reaches a recall. ``r50``: recall at a precision of 0.5. ``threshold``: where ``ods`` is reached.

    Raises:
        ValueError: If there is no image or thresholds differ.
    """
    thresholds, table = _table(counts)
    recall, precision = _recall_precision(*table.sum(axis=0))
    per_image = _f_measure(*_recall_precision(*table.transpose(1, 0, 2)))
    best = np.argmax(per_image, axis=1)
    ois = _f_measure(*_recall_precision(*table[np.arange(len(table)), :, best].sum(axis=0)))
    ods, threshold = _best_between(thresholds, recall, precision)
    return {
        "ods": ods,
        "ois": float(ois),
        "ap": _average_precision(recall, precision),
        "r50": _recall_at_half(recall, precision),
        "threshold": threshold,
    }


def precision_recall(counts: Sequence[BoundaryCounts]) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision of the pooled counts at each threshold, ``(T,)`` float64 each; see ``boundary_scores``."""
    return _recall_precision(*_table(counts)[1].sum(axis=0))


def suppress_non_maxima(probability: np.ndarray) -> np.ndarray:
    """Keep a soft boundary map only along its ridges, so that thinning afterwards follows them.

    The steps are those of Dollar's edges toolbox, with its usual settings: the map is smoothed by a triangle filter of radius 1;
    the orientation comes from second derivatives of the map smoothed by a triangle of radius 4; a pixel stays where 1.01 times
    its value is no less than both values one pixel away along the normal (bilinear); the outermost 5 pixels fade out.

    Args:
        probability: ``(H, W)`` float in [0, 1].

    Returns:
        ``(H, W)`` float32 in [0, 1], 0 off the ridges.
    """
    smooth = _triangle(np.asarray(probability, dtype=np.float32), 1)
    angle = _normal_angle(smooth)
    height, width = smooth.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    step_x, step_y = np.cos(angle), np.sin(angle)
    keep = np.ones(smooth.shape, dtype=bool)
    for sign in (-1, 1):
        along = _bilinear(smooth, y + sign * step_y, x + sign * step_x)
        keep &= smooth * np.float32(_SLACK) >= along
    fade = np.minimum.outer(_fade(height), _fade(width)) if min(height, width) > 2 * _MARGIN else np.float32(1)
    return np.clip(np.where(keep, smooth, 0) * fade, 0, 1).astype(np.float32)


def check_thresholds(thresholds: np.ndarray) -> np.ndarray:
    """Return thresholds as ``(T,)`` float64; a ``ValueError`` unless they ascend."""
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if thresholds.ndim != 1 or len(thresholds) == 0 or np.any(np.diff(thresholds) <= 0):
        raise ValueError("thresholds: expected a list of at least one ascending number")
    return thresholds


def check_annotators(machine: np.ndarray, annotators: np.ndarray) -> None:
    """Raise a ``ValueError`` unless ``machine`` is ``(H, W)`` and ``annotators`` ``(A, H, W)`` with at least one member."""
    if machine.ndim != 2 or annotators.ndim != 3 or len(annotators) == 0 or annotators.shape[1:] != machine.shape:
        raise ValueError(f"expected annotations (A, H, W) of a map (H, W), got {annotators.shape} of {machine.shape}")


def _table(counts: Sequence[BoundaryCounts]) -> tuple[np.ndarray, np.ndarray]:
    """Return the common thresholds ``(T,)``, and recalled, annotated, correct, predicted of each image, ``(images, 4, T)``."""
    if not counts:
        raise ValueError("no image was counted: give at least one")
    thresholds = counts[0].thresholds
    if any(not np.array_equal(one.thresholds, thresholds) for one in counts):
        raise ValueError("the images were counted at different thresholds")
    return thresholds, np.array([[one.recalled, one.annotated, one.correct, one.predicted] for one in counts])


def _recall_precision(recalled, annotated, correct, predicted) -> tuple[np.ndarray, np.ndarray]:
    return recalled / np.maximum(annotated, 1), correct / np.maximum(predicted, 1)


def _f_measure(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    total = recall + precision
    return 2 * recall * precision / np.where(total == 0, 1, total)


def _best_between(thresholds: np.ndarray, recall: np.ndarray, precision: np.ndarray) -> tuple[float, float]:
    """Return the best F and its threshold, with recall and precision linear between neighbouring thresholds."""
    at = np.arange(len(thresholds))
    fine = (at[:-1, None] + np.linspace(0, 1, _FINE_STEPS)).ravel() if len(at) > 1 else at
    recall, precision, thresholds = (np.interp(fine, at, values) for values in (recall, precision, thresholds))
    f = _f_measure(recall, precision)
    best = int(np.argmax(f))
    return float(f[best]), float(thresholds[best])


def _average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    # Of equal recalls the highest threshold counts.
    levels, first = np.unique(recall[::-1], return_index=True)
    if len(levels) < 2:
        return 0.0
    return float(np.interp(np.arange(101) / 100, levels, precision[::-1][first], left=0, right=0).sum() / 100)


def _recall_at_half(recall: np.ndarray, precision: np.ndarray) -> float:
    levels, first = np.unique(precision, return_index=True)
    return float(np.interp(0.5, levels, recall[first], right=0))


def _triangle(values: np.ndarray, radius: int) -> np.ndarray:
    rising = np.arange(1, radius + 2, dtype=np.float32)
    kernel = np.concatenate([rising, rising[-2::-1]]) / np.float32((radius + 1) ** 2)
    return convolve(np.pad(values, radius, mode="symmetric"), kernel, kernel)[radius:-radius, radius:-radius]


def _gradient(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives along x and y, one-sided at the edges and 0 along a side of one pixel."""
    along_y, along_x = (np.gradient(values, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values) for axis in (0, 1))
    return along_x, along_y


def _normal_angle(smooth: np.ndarray) -> np.ndarray:
    """Return the direction across a ridge, radians from the x axis towards y in [0, pi].

    The toolbox takes 0 as the sign of a mixed derivative of 0, which turns exactly horizontal lines; here it is 1.
    """
    along_x, along_y = _gradient(_triangle(smooth, _ORIENTATION_RADIUS))
    xx, xy = _gradient(along_x)
    yy = _gradient(along_y)[1]
    sign = np.where(xy > 0, np.float32(-1), np.float32(1))
    return np.mod(np.arctan(yy * sign / (xx + np.float32(1e-5))), np.float32(np.pi))


def _bilinear(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Interpolate a map at the points ``(y, x)``; beyond its edges it goes on with its outermost values."""
    (top, bottom, down), (left, right, across) = (
        _neighbours(at, length) for at, length in zip((y, x), values.shape, strict=True)
    )
    upper = values[top, left] * (1 - across) + values[top, right] * across
    lower = values[bottom, left] * (1 - across) + values[bottom, right] * across
    return upper * (1 - down) + lower * down


def _neighbours(at: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two indices around positions on an axis, and how far each lies from the first to the second, in [0, 1]."""
    at = np.clip(at, 0, length - 1)
    first = at.astype(np.int32)
    return first, np.minimum(first + 1, length - 1), at - first


def _fade(length: int) -> np.ndarray:
    at = np.arange(length, dtype=np.float32)
    return np.minimum(1, np.minimum(at, at[::-1]) / _MARGIN)
