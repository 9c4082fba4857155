"""How well segments and true objects of rendered CLEVR scenes fit, for boundary networks at several cuts.

    subobject data clevr-render --output data/clevr --split val --count 2000 --seed 1
    python benchmarks/clevr_segments.py --data data/clevr --boundary-weights boundarynet.bsds500 boundarynet.clevr

An object is *lost* when less than half of its pixels are in segments of which it is the largest part: no token stands for it. It
is *divided* when it is the largest part of several segments. ``iou`` is that of the best segment of an object.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from _report import write_report
from subobject.data.clevr import ClevrImage, read_clevr
from subobject.segments.merge_order import MERGE_ORDERS
from subobject.tokens.tokenizer import SubobjectTokenizer


def main() -> None:
    arguments = _parse_arguments()
    images = read_clevr(arguments.data, arguments.split)[: arguments.images]
    cuts = [{"max_tokens": budget} for budget in arguments.budgets] + [{"threshold": one} for one in arguments.thresholds]
    rows = []
    for weights in arguments.boundary_weights:
        tokenizer = SubobjectTokenizer.from_pretrained(
            boundary_weights=weights, merge_order=arguments.merge_order, colour_weight=arguments.colour_weight
        )
        for cut in cuts:
            rows.append({"boundary_weights": Path(weights).name, **cut, **judge(tokenizer, images, cut)})
            print(rows[-1], flush=True)
    settings = {name: getattr(arguments, name) for name in ("split", "merge_order", "colour_weight")}
    write_report("clevr_segments", settings | {"images": len(images), "rows": rows})


class Fit(NamedTuple):
    """How the segments of a scene fit its visible objects: ``lost`` and ``divided`` bool and ``iou``, each ``(objects,)``."""

    lost: np.ndarray
    divided: np.ndarray
    iou: np.ndarray


def judge(tokenizer: SubobjectTokenizer, images: list[ClevrImage], cut: dict[str, Any]) -> dict[str, float]:
    """Return tokens an image, shares of lost objects, of scenes with lost and with divided ones, and the mean best IoU."""
    segmentations = [tokenizer.segment(image.image(), **cut) for image in images]
    fits = [fit(one.labels, image.mask()) for one, image in zip(segmentations, images, strict=True)]
    return {
        "tokens": round(float(np.mean([one.num_segments for one in segmentations])), 2),
        "objects_lost": round(float(np.concatenate([one.lost for one in fits]).mean()), 5),
        "scenes_with_a_lost_object": round(float(np.mean([one.lost.any() for one in fits])), 4),
        "scenes_with_a_divided_object": round(float(np.mean([one.divided.any() for one in fits])), 4),
        "iou": round(float(np.concatenate([one.iou for one in fits]).mean()), 4),
    }


def fit(labels: np.ndarray, truth: np.ndarray) -> Fit:
    """Compare a label map with the true one, both ``(H, W)`` integers, where 0 in ``truth`` is the ground."""
    table = overlaps(labels.astype(np.int64), truth.astype(np.int64))
    largest = table.max(axis=1, keepdims=True)
    objects = table[:, 1:][:, table[:, 1:].sum(axis=0) > 0]
    areas = objects.sum(axis=0)
    mine = objects == largest
    union = table.sum(axis=1, keepdims=True) + areas - objects
    return Fit(
        lost=np.where(mine, objects, 0).sum(axis=0) < areas / 2,
        divided=mine.sum(axis=0) > 1,
        iou=(objects / union).max(axis=0),
    )


def overlaps(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the pixels that each segment shares with each true label, ``(segments, true labels)`` int64."""
    width = truth.max() + 1
    return np.bincount((labels * width + truth).ravel(), minlength=(labels.max() + 1) * width).reshape(-1, width)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of CLEVR with label maps")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=500, help="judge the first images only")
    parser.add_argument("--boundary-weights", nargs="+", default=["boundarynet.bsds500", "boundarynet.clevr"])
    parser.add_argument("--merge-order", choices=sorted(MERGE_ORDERS), default="strength")
    parser.add_argument("--colour-weight", type=float, default=0.02)
    parser.add_argument("--thresholds", type=float, nargs="*", default=[0.02, 0.03, 0.04, 0.05, 0.13])
    parser.add_argument("--budgets", type=int, nargs="*", default=[12, 16, 32])
    return parser.parse_args()


if __name__ == "__main__":
    main()
