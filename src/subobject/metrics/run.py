"""Runs over BSDS500: boundary maps, made elsewhere or by a model, and segmenters, judged against the annotators."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from subobject.data.bsds500 import BsdsImage
from subobject.metrics.boundaries import BoundaryCounts, boundary_counts, boundary_scores, suppress_non_maxima
from subobject.metrics.segments import CoveringCounts, covering_scores, region_covering, segment_scores
from subobject.structures import Boundaries, Segmentation
from subobject.timing import Clock

BoundaryPredictor = Callable[[list[np.ndarray]], list[Boundaries]]
SegmentMethod = Callable[[np.ndarray, Boundaries | None, int | None], Segmentation]

_FULL_SCALE = {"1": 1, "L": 255, "I;16": 65535, "I;16B": 65535, "I": 65535}
_DIGITS = 6


def even_thresholds(number: int) -> np.ndarray:
    """Return ``i / (number + 1)`` for ``i = 1 .. number``, float64; 99 are the benchmark's. A ``ValueError`` below 1."""
    if number < 1:
        raise ValueError(f"the number of thresholds is {number}: use 1 or more")
    return np.arange(1, number + 1) / (number + 1)


def limited(images: list[BsdsImage], limit: int | None) -> list[BsdsImage]:
    """Return the first ``limit`` images, or all for None; a ``ValueError`` below 1."""
    if limit is not None and limit < 1:
        raise ValueError(f"the limit is {limit} images: use 1 or more")
    return images[:limit]


def find_predictions(folder: str | Path, images: Iterable[BsdsImage]) -> list[Path]:
    """Find ``ID.png`` of every image in a folder.

    Raises:
        ValueError: If one is missing; the message names the first.
    """
    paths = [Path(folder) / f"{image.id}.png" for image in images]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{len(missing)} of {len(paths)} predictions are missing, first {missing[0]}: name each map ID.png")
    return paths


def read_prediction(path: Path) -> np.ndarray:
    """Read a boundary map stored as an 8- or 16-bit (or 1-bit) gray PNG.

    Returns:
        ``(H, W)`` float64 in [0, 1]: value divided by 255, 65535 or 1.

    Raises:
        ValueError: If it cannot be read or is not such a PNG.
    """
    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.asarray(image)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if mode not in _FULL_SCALE:
        raise ValueError(f"{path} has the pixel format {mode}: save boundary maps as gray PNG of 8 or 16 bits")
    return values / _FULL_SCALE[mode]


def evaluate_predictions(
    images: Sequence[BsdsImage],
    paths: Sequence[Path],
    *,
    thresholds: np.ndarray,
    suppress: bool = False,
    workers: int | None = None,
    advance: Callable[[], Any] = lambda: None,
) -> dict[str, float]:
    """Score boundary maps in files.

    Args:
        images: Annotated images.
        paths: The map of each image.
        thresholds: Ascending, ``(T,)`` float.
        suppress: Apply ``suppress_non_maxima`` before boundary matching; for soft maps of networks.
        workers: Processes; None for one a core. They are spawned, hence a script needs ``if __name__ == "__main__"``.
        advance: Called once an image, from any thread.

    Returns:
        ``ods``, ``ois``, ``ap``, ``r50``, ``covering`` (at the best threshold for all images), ``covering_ois``,
        ``covering_best``, ``threshold``, ``images``.

    Raises:
        ValueError: If a map cannot be read or has another size than its image.
    """
    tasks = ((image, path, thresholds, suppress) for image, path in zip(images, paths, strict=True))
    return _pooled(_map(judge_image, tasks, len(images), workers, advance))


def evaluate_model(
    images: Sequence[BsdsImage],
    predict: BoundaryPredictor,
    *,
    thresholds: np.ndarray,
    suppress: bool = True,
    workers: int | None = None,
    advance: Callable[[], Any] = lambda: None,
) -> dict[str, float]:
    """Score a boundary model; it runs in this process while others match. Otherwise as ``evaluate_predictions``."""
    tasks = ((image, predict([image.image()])[0].probability, thresholds, suppress) for image in images)
    return _pooled(_map(judge_image, tasks, len(images), workers, advance))


def judge_image(
    image: BsdsImage, prediction: Path | np.ndarray, thresholds: np.ndarray, suppress: bool
) -> tuple[BoundaryCounts, CoveringCounts]:
    """Count one boundary map, ``(H, W)`` float or the path of one, against all annotators of its image.

    Raises:
        ValueError: If the map has another size than its image.
    """
    probability = read_prediction(prediction) if isinstance(prediction, Path) else prediction
    boundaries = image.boundaries()
    if probability.shape != boundaries.shape[1:]:
        raise ValueError(f"the map of image {image.id} has size {probability.shape}, but the image {boundaries.shape[1:]}")
    lines = suppress_non_maxima(probability) if suppress else probability
    return boundary_counts(lines, boundaries, thresholds), region_covering(probability, image.labels(), thresholds)


def evaluate_segmenter(
    images: Sequence[BsdsImage],
    method: SegmentMethod,
    boundary_model: BoundaryPredictor | None,
    budgets: Sequence[int],
    *,
    advance: Callable[[], Any] = lambda: None,
) -> list[dict[str, float]]:
    """Score a segmenter at several budgets, in this process so that its seconds mean something.

    Args:
        images: Annotated images, at least one.
        method: Called with the image ``(H, W, 3)`` uint8, its boundary map or None, and the budget.
        boundary_model: Makes the boundary map, once an image; None where the segmenter needs none.
        budgets: Largest numbers of segments, each at least 1.
        advance: Called once an image.

    Returns:
        One dict a budget: ``budget``, ``tokens``, the scores of ``segment_scores`` and ``seconds`` (boundary map and
        segmentation), each the mean over images.

    Raises:
        ValueError: If a budget is below 1 or there is no image.
    """
    wrong = [budget for budget in budgets if budget < 1]
    if wrong or not budgets or not images:
        raise ValueError(f"the budget is {wrong[0]}: use 1 or more" if wrong else "give at least one image and one budget")
    rows: list[list[dict[str, float]]] = [[] for _ in budgets]
    for i, image in enumerate(images):
        pixels, annotators = image.image(), image.labels()
        if i == 0:  # The first call compiles; its time must not count.
            method(pixels, _predict_one(boundary_model, pixels), budgets[0])
        clock = Clock()
        with clock.measure("boundaries"):
            boundaries = _predict_one(boundary_model, pixels)
        for row, budget in zip(rows, budgets, strict=True):
            clock.seconds["segments"] = 0.0
            with clock.measure("segments"):
                segmentation = method(pixels, boundaries, budget)
            scores = segment_scores(segmentation.labels, annotators, pixels)
            row.append({"tokens": segmentation.num_segments, **scores, "seconds": sum(clock.seconds.values())})
        advance()
    return [
        {"budget": budget, **{key: round(float(np.mean([one[key] for one in row])), _DIGITS) for key in row[0]}}
        for budget, row in zip(budgets, rows, strict=True)
    ]


def _predict_one(boundary_model: BoundaryPredictor | None, pixels: np.ndarray) -> Boundaries | None:
    return None if boundary_model is None else boundary_model([pixels])[0]


def _pooled(counts: list[tuple[BoundaryCounts, CoveringCounts]]) -> dict[str, float]:
    boundaries = boundary_scores([one for one, _ in counts])
    regions = covering_scores([one for _, one in counts])
    scores = {
        **{key: boundaries[key] for key in ("ods", "ois", "ap", "r50")},
        "covering": regions["ods"],
        "covering_ois": regions["ois"],
        "covering_best": regions["best"],
        "threshold": boundaries["threshold"],
    }
    return {key: round(value, _DIGITS) for key, value in scores.items()} | {"images": len(counts)}


def _map(
    function: Callable[..., Any], tasks: Iterable[tuple], total: int, workers: int | None, advance: Callable[[], Any]
) -> list[Any]:
    """Call ``function(*task)`` for every task, in order, in this process or in several."""
    if workers is not None and workers < 1:
        raise ValueError(f"the number of workers is {workers}: use 1 or more")
    workers = min(workers or os.cpu_count() or 1, total)
    if workers <= 1:
        results = []
        for task in tasks:
            results.append(function(*task))
            advance()
        return results
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        try:
            futures = []
            for task in tasks:
                futures.append(pool.submit(function, *task))
                futures[-1].add_done_callback(lambda _: advance())
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
