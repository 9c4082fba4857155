"""Check the evaluator: score the published gPb-owt-ucm contours of the BSDS500 test images beside their published scores.

    python benchmarks/evaluator_check.py --data BSDS500_FOLDER --ucm UCM_FOLDER

``UCM_FOLDER`` holds ``test/ID.png`` and ``expected/eval_bdry.txt``, ``eval_bdry_img.txt``, ``eval_cover.txt`` as the benchmark's
authors' program wrote them.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from _report import write_report
from subobject.data.bsds500 import read_split
from subobject.metrics.boundaries import THRESHOLDS
from subobject.metrics.run import evaluate_predictions, find_predictions, judge_image

BOUNDARY_TOLERANCE, COVERING_TOLERANCE = 0.003, 0.005


def main() -> None:
    """Compare, print and write the report; exit status 1 if a figure is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ucm", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=None)
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
    scores = evaluate_predictions(images, paths, thresholds=THRESHOLDS, workers=arguments.workers)
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
    per_image = np.loadtxt(arguments.ucm / "expected" / "eval_bdry_img.txt")[:, 4]
    first = [judge_image(image, path, THRESHOLDS, False)[0].best_f()[0] for image, path in zip(images[:10], paths, strict=False)]
    difference = float(np.abs(np.array(first) - per_image[:10]).max())
    print(f"best F of an image differs by at most {difference:.4f} over the first 10 images; {seconds:.0f} s in all")
    write_report(
        "evaluator_check",
        {"figures": figures, "scores": scores, "largest_image_difference_of_10": difference, "seconds": round(seconds, 1)},
    )
    if not all(figure["met"] for figure in figures.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
