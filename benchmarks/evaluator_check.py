"""Check the evaluator: score the published gPb-owt-ucm contours of the BSDS500 test images beside their published scores.

    python benchmarks/evaluator_check.py --data BSDS500_FOLDER --ucm UCM_FOLDER

``UCM_FOLDER`` holds ``test/ID.png`` and ``expected/eval_bdry.txt``, ``eval_bdry_img.txt``, ``eval_cover.txt`` and
``eval_cover_img.txt`` as the benchmark's authors' program wrote them. Figures of single images are compared too.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from _report import write_report
from subobject.data.bsds500 import BsdsImage, read_split
from subobject.metrics.boundaries import THRESHOLDS
from subobject.metrics.run import find_predictions, judge_predictions, pooled_scores

BOUNDARY_TOLERANCE, COVERING_TOLERANCE = 0.003, 0.005


def main() -> None:
    """Compare, print and write the report; exit status 1 if a figure is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ucm", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--cache", type=Path, default=None)
    arguments = parser.parse_args()

    images = read_split(arguments.data, "test")
    paths = find_predictions(arguments.ucm / "test", images)
    boundary = np.loadtxt(arguments.ucm / "expected" / "eval_bdry.txt")
    covering = np.loadtxt(arguments.ucm / "expected" / "eval_cover.txt")
    expected = {
        "ods": (boundary[3], BOUNDARY_TOLERANCE),
        "ois": (boundary[6], BOUNDARY_TOLERANCE),
        "ap": (boundary[7], BOUNDARY_TOLERANCE),
        "covering": (covering[1], COVERING_TOLERANCE),
        "covering_ois": (covering[2], COVERING_TOLERANCE),
        "covering_best": (covering[3], COVERING_TOLERANCE),
    }
    start = time.perf_counter()
    judged = judge_predictions(images, paths, thresholds=THRESHOLDS, workers=arguments.workers, cache=arguments.cache)
    scores = pooled_scores(judged)
    seconds = time.perf_counter() - start
    figures = {
        name: {
            "expected": float(want),
            "measured": scores[name],
            "within": tolerance,
            "met": bool(abs(scores[name] - want) <= tolerance),
        }
        for name, (want, tolerance) in expected.items()
    }
    for name, figure in figures.items():
        verdict = "ok" if figure["met"] else "OFF"
        print(f"{name:14s} expected {figure['expected']:.4f}  measured {figure['measured']:.4f}  {verdict}")
    per_image = {
        "best F": _compare(
            [one.boundaries.best_f()[0] for one in judged],
            np.loadtxt(arguments.ucm / "expected" / "eval_bdry_img.txt")[:, 4],
            images,
        ),
        "covering": _compare(
            [float(one.regions.covered.max() / one.regions.annotated) for one in judged],
            np.loadtxt(arguments.ucm / "expected" / "eval_cover_img.txt")[:, 2],
            images,
        ),
    }
    for name, comparison in per_image.items():
        print(name, {key: value for key, value in comparison.items() if key != "images"})
    print(f"{seconds:.0f} s with {arguments.workers or 'all'} workers")
    write_report("evaluator_check", {"figures": figures, "scores": scores, "per_image": per_image, "seconds": round(seconds, 1)})
    if not all(figure["met"] for figure in figures.values()):
        raise SystemExit(1)


def _compare(measured: list[float], published: np.ndarray, images: list[BsdsImage]) -> dict[str, Any]:
    """Compare one figure an image: quantiles of the absolute difference, the mean difference, and both figures by image."""
    difference = np.array(measured) - published
    at = int(np.argmax(np.abs(difference)))
    return {
        "mean_difference": round(float(difference.mean()), 5),
        "median": round(float(np.median(np.abs(difference))), 5),
        "95th_percentile": round(float(np.quantile(np.abs(difference), 0.95)), 5),
        "largest": round(float(np.abs(difference).max()), 5),
        "largest_at": images[at].id,
        "images": {
            image.id: [round(float(ours), 4), round(float(theirs), 4)]
            for image, ours, theirs in zip(images, measured, published, strict=True)
        },
    }


if __name__ == "__main__":
    main()
