"""Runs over BSDS500: boundary maps, made elsewhere or by a model, and segmenters, judged against the annotators."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from subobject.data.bsds500 import BsdsImage
from subobject.metrics.boundaries import BoundaryCounts, boundary_counts, boundary_scores, suppress_non_maxima
from subobject.metrics.cache import cached
from subobject.metrics.parallel import Workers
from subobject.metrics.segments import CoveringCounts, covering_scores, region_covering, segment_scores
from subobject.structures import Boundaries, Segmentation
from subobject.timing import Clock

AnyImage = TypeVar("AnyImage")
BoundaryPredictor = Callable[[list[np.ndarray]], list[Boundaries]]
SegmentMethod = Callable[[np.ndarray, Boundaries | None, int | None], Segmentation]

BUDGETS = (16, 32, 64, 128, 256, 400)
_FULL_SCALE = {"1": 1, "L": 255, "I;16": 65535, "I;16B": 65535, "I": 65535}
_DIGITS = 6
_CHUNK = 16


class Judged(NamedTuple):
    """What one image's boundary map counts."""

    boundaries: BoundaryCounts
    regions: CoveringCounts


def even_thresholds(number: int) -> np.ndarray:
    """Return ``i / (number + 1)`` for ``i = 1 .. number``, float64; 99 are the benchmark's. A ``ValueError`` below 1."""
    if number < 1:
        raise ValueError(f"the number of thresholds is {number}: use 1 or more")
    return np.arange(1, number + 1) / (number + 1)


def limited(images: list[AnyImage], limit: int | None) -> list[AnyImage]:
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


def judge_predictions(
    images: Sequence[BsdsImage],
    paths: Sequence[Path],
    *,
    thresholds: np.ndarray,
    suppress: bool = False,
    workers: int | None = None,
    cache: Path | None = None,
    advance: Callable[[], Any] = lambda: None,
) -> list[Judged]:
    """Count boundary maps in files.

    Args:
        images: Annotated images.
        paths: The map of each image.
        thresholds: Ascending, ``(T,)`` float.
        suppress: Apply ``suppress_non_maxima`` before boundary matching; for soft maps of networks.
        workers: Processes; None for one a core. They are spawned, hence a script needs ``if __name__ == "__main__"``.
        cache: Folder in which counts are kept by map, annotations, options and version; a second run reads them.
        advance: Called once an image, from any thread.

    Raises:
        ValueError: If a map cannot be read or has another size than its image.
    """
    tasks = ((image, path, thresholds, suppress, cache) for image, path in zip(images, paths, strict=True))
    return _judge(tasks, len(images), workers, advance)


def judge_model(
    images: Sequence[BsdsImage],
    predict: BoundaryPredictor,
    *,
    thresholds: np.ndarray,
    suppress: bool = True,
    workers: int | None = None,
    cache: Path | None = None,
    advance: Callable[[], Any] = lambda: None,
) -> list[Judged]:
    """Count the maps of a boundary model; it runs in this process while others match. Otherwise as ``judge_predictions``."""
    tasks = ((image, predict([image.image()])[0].probability, thresholds, suppress, cache) for image in images)
    return _judge(tasks, len(images), workers, advance)


def evaluate_predictions(images: Sequence[BsdsImage], paths: Sequence[Path], **options: Any) -> dict[str, float]:
    """Return the ``pooled_scores`` of boundary maps in files; arguments as for ``judge_predictions``."""
    return pooled_scores(judge_predictions(images, paths, **options))


def evaluate_model(images: Sequence[BsdsImage], predict: BoundaryPredictor, **options: Any) -> dict[str, float]:
    """Return the ``pooled_scores`` of a boundary model; arguments as for ``judge_model``."""
    return pooled_scores(judge_model(images, predict, **options))


def judge_image(
    image: BsdsImage, prediction: Path | np.ndarray, thresholds: np.ndarray, suppress: bool, cache: Path | None = None
) -> Judged:
    """Count one boundary map, ``(H, W)`` float or the path of one, against all annotators of its image.

    Raises:
        ValueError: If the map has another size than its image.
    """
    probability = read_prediction(prediction) if isinstance(prediction, Path) else prediction
    boundaries = image.boundaries()
    if probability.shape != boundaries.shape[1:]:
        raise ValueError(f"the map of image {image.id} has size {probability.shape}, but the image {boundaries.shape[1:]}")

    def compute() -> dict[str, np.ndarray]:
        lines = suppress_non_maxima(probability) if suppress else probability
        counts = boundary_counts(lines, boundaries, thresholds)
        regions = region_covering(probability, image.labels(), thresholds)
        return {f"boundaries_{name}": value for name, value in vars(counts).items()} | {
            f"regions_{name}": np.asarray(value) for name, value in vars(regions).items()
        }

    key = ("boundaries", probability, thresholds, suppress, *image.boundary_paths, *image.label_paths)
    found = cached(cache, key, compute)
    parts: dict[str, dict[str, Any]] = {"boundaries": {}, "regions": {}}
    for name, value in found.items():
        part, _, field = name.partition("_")
        parts[part][field] = value if value.ndim else value.item()
    return Judged(BoundaryCounts(**parts["boundaries"]), CoveringCounts(**parts["regions"]))


def pooled_scores(judged: Sequence[Judged]) -> dict[str, float]:
    """Pool the counts of a data set's images.

    Returns:
        ``ods``, ``ois``, ``ap``, ``r50``, ``covering`` (at the best threshold for all images), ``covering_ois``,
        ``covering_best``, ``threshold``, ``images``.
    """
    boundaries = boundary_scores([one.boundaries for one in judged])
    regions = covering_scores([one.regions for one in judged])
    scores = {
        **{key: boundaries[key] for key in ("ods", "ois", "ap", "r50")},
        "covering": regions["ods"],
        "covering_ois": regions["ois"],
        "covering_best": regions["best"],
        "threshold": boundaries["threshold"],
    }
    return {key: round(value, _DIGITS) for key, value in scores.items()} | {"images": len(judged)}


def evaluate_segmenter(
    images: Sequence[BsdsImage],
    method: SegmentMethod,
    boundary_model: BoundaryPredictor | None,
    budgets: Sequence[int],
    *,
    workers: Workers | None = None,
    cache: Path | None = None,
    advance: Callable[[], Any] = lambda: None,
) -> list[dict[str, float]]:
    """Score a segmenter at several budgets.

    Images are cut in this process while the workers rest, so that its seconds mean something; then the workers score them.

    Args:
        images: Annotated images, at least one.
        method: Called with the image ``(H, W, 3)`` uint8, its boundary map or None, and the budget.
        boundary_model: Makes the boundary map, once an image; None where the segmenter needs none.
        budgets: Largest numbers of segments, each at least 1.
        workers: Who scores; this process for None.
        cache: Folder in which scores are kept by label map, photograph, annotations and version. Images are cut in any case.
        advance: Called once an image and budget, from any thread.

    Returns:
        One dict a budget: ``budget``, ``tokens``, the scores of ``segment_scores`` and ``seconds`` (boundary map and
        segmentation), each the mean over images.

    Raises:
        ValueError: If a budget is below 1 or there is no image.
    """
    wrong = [budget for budget in budgets if budget < 1]
    if wrong or not budgets or not images:
        raise ValueError(f"the budget is {wrong[0]}: use 1 or more" if wrong else "give at least one image and one budget")
    workers = workers or Workers(1)
    # The first call compiles; its time must not count.
    pixels = images[0].image()
    method(pixels, _predict_one(boundary_model, pixels), budgets[0])
    rows: list[list[dict[str, float]]] = [[] for _ in budgets]
    for first in range(0, len(images), _CHUNK):
        tasks = []
        measured = []
        for image in images[first : first + _CHUNK]:
            pixels = image.image()
            clock = Clock()
            with clock.measure("boundaries"):
                boundaries = _predict_one(boundary_model, pixels)
            for budget in budgets:
                clock.seconds["segments"] = 0.0
                with clock.measure("segments"):
                    segmentation = method(pixels, boundaries, budget)
                tasks.append((image, segmentation.labels, cache))
                measured.append((segmentation.num_segments, sum(clock.seconds.values())))
        found = workers.map(score_image, tasks, advance)
        for i, ((tokens, seconds), scores) in enumerate(zip(measured, found, strict=True)):
            rows[i % len(budgets)].append({"tokens": tokens, **scores, "seconds": seconds})
    return [
        {"budget": budget, **{key: round(float(np.mean([one[key] for one in row])), _DIGITS) for key in row[0]}}
        for budget, row in zip(budgets, rows, strict=True)
    ]


def score_image(image: BsdsImage, labels: np.ndarray, cache: Path | None = None) -> dict[str, float]:
    """Score one label map ``(H, W)`` integer against all annotators of its image; see ``segment_scores``."""

    def compute() -> dict[str, np.ndarray]:
        scores = segment_scores(labels, image.labels(), image.image())
        return {name: np.float64(value) for name, value in scores.items()}  # type: ignore[misc]

    found = cached(cache, ("segments", labels, image.image_path, *image.label_paths), compute)
    return {name: float(value) for name, value in found.items()}


def _predict_one(boundary_model: BoundaryPredictor | None, pixels: np.ndarray) -> Boundaries | None:
    return None if boundary_model is None else boundary_model([pixels])[0]


def _judge(tasks: Iterable[tuple], total: int, workers: int | None, advance: Callable[[], Any]) -> list[Judged]:
    with Workers(workers) as all_workers:
        all_workers.count = min(all_workers.count, total)
        return all_workers.map(judge_image, tasks, advance)
