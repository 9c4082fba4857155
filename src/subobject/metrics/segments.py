"""Scores of a label map against the label maps of several annotators, all from tables that count shared pixels.

Every score is computed against each annotator and averaged. Symbols: ``S`` a segment of the machine, ``G`` a segment of an
annotator, ``|.|`` pixels, ``n`` pixels of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from subobject.filters import convolve, nearest_marked
from subobject.metrics.boundaries import THRESHOLDS, TOLERANCE, check_annotators, check_thresholds
from subobject.segments.components import components

# The reference implementation of EPOC erodes segments by 25 pixels on images of 1024 x 1024.
INTERIOR_TOLERANCE = 25 / float(np.hypot(1024, 1024))


def contingency(labels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Count the pixels that each pair of segments shares.

    Args:
        labels: ``(H, W)`` integer, values in ``[0, N)``.
        reference: ``(H, W)`` integer, values in ``[0, M)``.

    Returns:
        ``(N, M)`` int64.

    Raises:
        ValueError: If the sizes differ or a label is negative.

    Example:
        >>> contingency(np.array([[0, 0, 1]]), np.array([[0, 1, 1]])).tolist()
        [[1, 1], [0, 1]]
    """
    if labels.shape != reference.shape:
        raise ValueError(f"the label maps differ in size: {labels.shape} and {reference.shape}")
    if labels.min() < 0 or reference.min() < 0:
        raise ValueError("labels: expected values from 0")
    rows, columns = int(labels.max()) + 1, int(reference.max()) + 1
    pairs = labels.astype(np.int64).ravel() * columns + reference.ravel()
    return np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)


def undersegmentation_error(labels: np.ndarray, annotators: np.ndarray) -> float:
    """Measure how far segments leak over annotated borders (Neubert and Protzel, 2012); 0 is best.

    For each annotator ``sum over G, S of min(|S & G|, |S - G|) / n``.

    Args:
        labels: ``(H, W)`` integer, values in ``[0, N)``.
        annotators: ``(A, H, W)`` integer, values from 0.
    """
    check_annotators(labels, annotators)
    return _mean(_leakage(table) for table in _tables(labels, annotators))


def achievable_accuracy(labels: np.ndarray, annotators: np.ndarray) -> float:
    """Return the achievable segmentation accuracy (Liu et al., 2011) in [0, 1]: ``sum over S of max over G of |S & G| / n``.

    Arguments as in ``undersegmentation_error``.
    """
    check_annotators(labels, annotators)
    return _mean(table.max(axis=1).sum() / table.sum() for table in _tables(labels, annotators))


def covering(labels: np.ndarray, annotators: np.ndarray) -> float:
    """Return how well segments cover annotated ones, in [0, 1]: ``sum over G of |G| max over S of IoU(S, G) / n``.

    Arguments as in ``undersegmentation_error``. The data set scores of ``covering_scores`` pool annotators in the same way,
    since all annotate the same pixels.
    """
    check_annotators(labels, annotators)
    return _mean(_overlaps(table) @ table.sum(axis=0) / table.sum() for table in _tables(labels, annotators))


def explained_variation(labels: np.ndarray, image: np.ndarray) -> float:
    """Return the share of the variance of the colours that lies between segments (Moore et al., 2008), in [0, 1].

    Args:
        labels: ``(H, W)`` integer, values in ``[0, N)``.
        image: ``(H, W, C)``, any numeric dtype. One flat colour is explained fully.

    Raises:
        ValueError: If the sizes differ.
    """
    if image.ndim != 3 or image.shape[:2] != labels.shape:
        raise ValueError(f"image: expected shape ({labels.shape[0]}, {labels.shape[1]}, C), got {image.shape}")
    pixels = image.reshape(-1, image.shape[2]).astype(np.float64)
    pixels -= pixels.mean(axis=0)
    areas = np.bincount(labels.ravel())
    sums = np.stack([np.bincount(labels.ravel(), weights=channel) for channel in pixels.T], axis=1)
    total = float(np.square(pixels).sum())
    return float((np.square(sums).sum(axis=1) / np.maximum(areas, 1)).sum() / total) if total > 0 else 1.0


def boundary_map(labels: np.ndarray) -> np.ndarray:
    """Mark the pixels whose right or lower neighbour has another label, ``(H, W)`` bool."""
    marked = np.zeros(labels.shape, dtype=bool)
    marked[:, :-1] = labels[:, 1:] != labels[:, :-1]
    marked[:-1] |= labels[1:] != labels[:-1]
    return marked


def boundary_recall_precision(labels: np.ndarray, annotators: np.ndarray, tolerance: float = TOLERANCE) -> tuple[float, float]:
    """Compare the borders of segments with annotated borders, by distance alone: many pixels may answer to one.

    Both borders are ``boundary_map`` of a label map. Distances are Euclidean.

    Args:
        labels: ``(H, W)`` integer.
        annotators: ``(A, H, W)`` integer.
        tolerance: Largest distance that counts as found, as a fraction of the image diagonal.

    Returns:
        Recall, the share of annotated border pixels near a machine border, and precision, the share of machine border pixels
        near an annotated one; both in [0, 1], and 1 where there is no pixel to judge.
    """
    check_annotators(labels, annotators)
    radius = tolerance * float(np.hypot(*labels.shape))
    machine = boundary_map(labels)
    near_machine = _near(machine, radius)
    references = [boundary_map(annotator) for annotator in annotators]
    recall = _mean(_share(near_machine[reference]) for reference in references)
    return recall, _mean(_share(_near(reference, radius)[machine]) for reference in references)


def monosemanticity(labels: np.ndarray, annotators: np.ndarray, tolerance: float = INTERIOR_TOLERANCE) -> tuple[float, float]:
    """Return the share of tokens that lie in one annotated segment, as EPOC (arXiv 2402.14327v3) counts them.

    A token lies in one segment when no annotated border (``boundary_map``) runs through its interior: its pixels farther than
    ``tolerance`` from all other tokens, in the larger of the distances along x and y. A token without interior passes, so that
    slivers score for free: read it beside the number of tokens and the second result.

    Args:
        labels: ``(H, W)`` integer, values in ``[0, N)``.
        annotators: ``(A, H, W)`` integer.
        tolerance: Fraction of the image diagonal, rounded to whole pixels, at least 1; the default is that of the
            published scores.

    Returns:
        Share of the tokens, and share of the image's area that they hold; both in [0, 1].
    """
    check_annotators(labels, annotators)
    radius = max(1, round(tolerance * float(np.hypot(*labels.shape))))
    areas = np.bincount(labels.ravel())
    interior = _interior(labels, radius)
    by_count, by_area = [], []
    for annotator in annotators:
        crossed = np.bincount(labels[interior & boundary_map(annotator)], minlength=len(areas)) > 0
        by_count.append(np.count_nonzero(~crossed & (areas > 0)) / np.count_nonzero(areas))
        by_area.append(areas[~crossed].sum() / labels.size)
    return float(np.mean(by_count)), float(np.mean(by_area))


def segment_scores(labels: np.ndarray, annotators: np.ndarray, image: np.ndarray) -> dict[str, float]:
    """Compute all scores of one label map.

    Args:
        labels: ``(H, W)`` integer, values in ``[0, N)``.
        annotators: ``(A, H, W)`` integer, values from 0.
        image: ``(H, W, C)``.

    Returns:
        ``recall``, ``precision``, ``ue``, ``asa``, ``covering``, ``explained_variation``, ``monosemanticity`` and
        ``monosemanticity_area``.
    """
    recall, precision = boundary_recall_precision(labels, annotators)
    by_count, by_area = monosemanticity(labels, annotators)
    return {
        "recall": recall,
        "precision": precision,
        "ue": undersegmentation_error(labels, annotators),
        "asa": achievable_accuracy(labels, annotators),
        "covering": covering(labels, annotators),
        "explained_variation": explained_variation(labels, image),
        "monosemanticity": by_count,
        "monosemanticity_area": by_area,
    }


@dataclass(frozen=True, eq=False)
class CoveringCounts:
    """Covering of one image at ``T`` thresholds.

    Attributes:
        thresholds: Ascending, ``(T,)`` float64.
        covered: Annotated pixels times the best overlap of their segment, summed over annotators, ``(T,)`` float64.
        covered_by_best: The same with the best overlap over all thresholds.
        annotated: Annotated pixels, summed over annotators.
    """

    thresholds: np.ndarray
    covered: np.ndarray
    covered_by_best: float
    annotated: int


def region_covering(probability: np.ndarray, annotators: np.ndarray, thresholds: np.ndarray = THRESHOLDS) -> CoveringCounts:
    """Cover annotated segments by the regions that a boundary map encloses, at every threshold.

    Args:
        probability: Boundary map, ``(H, W)`` float in [0, 1]; best an ultrametric contour map.
        annotators: Label maps, ``(A, H, W)`` integer, values from 0.
        thresholds: Ascending, ``(T,)`` float.

    Raises:
        ValueError: If the shapes do not fit or the thresholds do not ascend.
    """
    thresholds = check_thresholds(thresholds)
    check_annotators(probability, annotators)
    areas = [np.bincount(annotator.ravel()) for annotator in annotators]
    best = [np.zeros(len(area)) for area in areas]
    covered = np.zeros(len(thresholds))
    before: int | None = None
    for i, threshold in enumerate(thresholds.astype(probability.dtype)):
        size = int(np.count_nonzero(probability < threshold))
        if size == before:  # Cuts are nested: equally many pixels are the same pixels.
            covered[i] = covered[i - 1]
            continue
        before = size
        for k, table in enumerate(_tables(cut_map(probability, threshold), annotators)):
            overlaps = _overlaps(table)
            best[k] = np.maximum(best[k], overlaps)
            covered[i] += overlaps @ areas[k]
    by_best = sum(float(one @ area) for one, area in zip(best, areas, strict=True))
    return CoveringCounts(thresholds, covered, by_best, annotators.size)


def covering_scores(counts: Sequence[CoveringCounts]) -> dict[str, float]:
    """Pool the coverings of a data set's images.

    Returns:
        ``ods``: at the best threshold for all images; ``ois``: at each image's best; ``best``: at each annotated segment's best;
        ``threshold``: where ``ods`` is reached.

    Raises:
        ValueError: If there is no image.
    """
    if not counts:
        raise ValueError("no image was counted: give at least one")
    table = np.array([one.covered for one in counts])
    total = sum(one.annotated for one in counts)
    pooled = table.sum(axis=0) / total
    return {
        "ods": float(pooled.max()),
        "ois": float(table.max(axis=1).sum() / total),
        "best": sum(one.covered_by_best for one in counts) / total,
        "threshold": float(counts[0].thresholds[int(np.argmax(pooled))]),
    }


def cut_map(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Cut a boundary map: 4-connected components of the pixels below ``threshold``, all others to the nearest component.

    Args:
        probability: ``(H, W)`` float.
        threshold: Boundary strength.

    Returns:
        ``(H, W)`` int32, values from 0; one segment where no pixel is below the threshold.
    """
    below = probability < threshold
    if not below.any():
        return np.zeros(probability.shape, dtype=np.int32)
    owner = components(below)[0].ravel()[nearest_marked(below)[0]]
    return np.unique(owner, return_inverse=True)[1].reshape(owner.shape).astype(np.int32)


def _tables(labels: np.ndarray, annotators: np.ndarray) -> list[np.ndarray]:
    return [contingency(labels, annotator) for annotator in annotators]


def _leakage(table: np.ndarray) -> float:
    outside = table.sum(axis=1, keepdims=True) - table
    return np.minimum(table, outside).sum() / table.sum()


def _overlaps(table: np.ndarray) -> np.ndarray:
    """Return each annotated segment's best intersection over union, ``(M,)``; 0 for a label that does not occur."""
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0) - table
    return (table / np.maximum(union, 1)).max(axis=0)


def _near(marked: np.ndarray, radius: float) -> np.ndarray:
    if not marked.any():
        return np.zeros(marked.shape, dtype=bool)
    return nearest_marked(marked)[1] <= radius


def _interior(labels: np.ndarray, radius: int) -> np.ndarray:
    """Mark the pixels from which no other label lies within ``radius`` steps along x, y or both."""
    edge = np.zeros(labels.shape, dtype=bool)
    padded = np.pad(labels, 1, mode="edge")
    height, width = labels.shape
    for dy in range(3):
        for dx in range(3):
            edge |= padded[dy : dy + height, dx : dx + width] != labels
    if radius == 0:
        return np.ones(labels.shape, dtype=bool)
    window = np.ones(2 * radius - 1)
    return convolve(edge.astype(np.float32), window, window) == 0


def _share(found: np.ndarray) -> float:
    return float(found.mean()) if found.size else 1.0


def _mean(values) -> float:
    return float(np.mean(list(values)))
