"""Judge boundary models and segmenters on BSDS500, side by side in one run.

    python benchmarks/boundary_quality.py --data BSDS500_FOLDER --split val

Boundaries are matched as the Berkeley benchmark does (after non-maximum suppression). Partitions are judged at equal budgets.
"""

import argparse
from functools import partial
from pathlib import Path

from _report import write_report
from subobject import boundaries
from subobject.data.bsds500 import read_split
from subobject.metrics import run
from subobject.metrics.parallel import Workers
from subobject.segments.pipeline import ImageSegmenter

MODELS: dict[str, tuple[str, dict[str, str]]] = {
    "directsam": ("directsam", {}),
    "directsam, multiscale": ("directsam", {"mode": "multiscale"}),
    "gradient": ("gradient", {}),
}
SEGMENTERS: dict[str, tuple[str, dict[str, str]]] = MODELS | {
    name: (name, {}) for name in ("slic", "seeds", "felzenszwalb", "patches")
}
BUDGETS = (16, 64, 128, 256, 400)
KEYS = ("tokens", "recall", "precision", "ue", "asa")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "val", "test"), default="val")
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    images = run.limited(read_split(arguments.data, arguments.split), arguments.limit)
    scores = {}
    for name, (kind, options) in MODELS.items():
        predict = partial(boundaries.load(kind), **options)
        scores[name] = run.evaluate_model(images, predict, thresholds=run.even_thresholds(99))
        print(name, {key: round(value, 4) for key, value in scores[name].items()}, flush=True)
    partitions = []
    with Workers() as workers:
        for name, (segmenter, options) in SEGMENTERS.items():
            cutter = ImageSegmenter.load(segmenter)
            model = cutter.boundary_model and partial(cutter.boundary_model, **options)
            for row in run.evaluate_segmenter(images, cutter.method, model, BUDGETS, workers=workers):
                partitions.append({"segmenter": name, **row})
                print(name, row["budget"], {key: round(row[key], 3) for key in KEYS}, flush=True)
    payload = {"split": arguments.split, "images": len(images), "boundaries": scores, "partitions": partitions}
    write_report(f"boundary_quality_{arguments.split}", payload)


if __name__ == "__main__":
    main()
