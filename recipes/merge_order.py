"""Fit the weights of the learned merge order (`src/subobject/segments/merge_order.py`) to photographs of BSDS500.

    python recipes/merge_order.py BSDS500_FOLDER --weights runs/candidates/EfficientNet-Lite0-ImageNet/final --split val

The boundary network must not have seen the photographs: on those that it has, its boundaries are better than elsewhere, and the
weights would trust them too much. `benchmarks/boundary_candidates.py` trains such a network on `train` alone.

Photographs are cut to several budgets in the present order. What is to be told of two neighbours is the share of the smaller
one that merging them puts wrong: the growth of the undersegmentation error, averaged over annotators, over twice the smaller
area. A logistic model of `evidence` is fitted to it by Newton's method; pairs weigh by the root of the smaller area's share. The
weights decide which pairs are met, so they are fitted in rounds.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from subobject import boundaries
from subobject.data import AnnotatedImage, read_images
from subobject.filters import rgb_to_lab
from subobject.metrics.segments import contingency
from subobject.segments.colour import colour_gradient
from subobject.segments.measure import measure
from subobject.segments.merge_order import MERGE_ORDERS, MergeOrder
from subobject.segments.tree import evidence
from subobject.segments.watershed import Watershed

BUDGETS = (600, 256, 128, 90, 64, 45, 32, 16)
NEWTON_STEPS = 20


def samples(
    image: AnnotatedImage, network: boundaries.BoundaryModel, order: MergeOrder
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return evidence ``(S, 5)``, loss in [0, 1] and weight, ``(S,)`` each, of the neighbours in the cuts of a photograph."""
    pixels, annotators = image.image(), [layer for stack in image.layers() for layer in stack]
    found = network([pixels])[0]
    segmenter = Watershed(merge_order=order)
    finest = segmenter(pixels, found)
    strength = np.minimum(found.probability + np.float32(segmenter.colour_weight) * colour_gradient(pixels), 1)
    parts = [_neighbours(finest.cut(max_segments=budget).labels, strength, pixels, annotators) for budget in BUDGETS]
    evidences, losses, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return evidences, losses, weights


def _neighbours(
    labels: np.ndarray, strength: np.ndarray, pixels: np.ndarray, annotators: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = measure(labels, int(labels.max()) + 1, strength, pixels)
    assert found.colours is not None
    first, second = found.pairs.T
    lab = rgb_to_lab(np.rint(found.colours).astype(np.uint8)[None])[0].astype(np.float64)
    shares = np.log(found.areas / labels.size)
    columns = (found.strengths.astype(np.float64), *(lab[first] - lab[second]).T, shares[first], shares[second])
    evidences = np.array([evidence(*row) for row in zip(*columns, strict=True)])
    smaller = np.minimum(found.areas[first], found.areas[second])
    growth = np.mean([_growth(contingency(labels, annotator), first, second) for annotator in annotators], axis=0)
    return evidences, np.clip(growth / (2 * smaller), 0, 1), np.sqrt(smaller / labels.size)


def _growth(table: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return by how many pixels the undersegmentation error of one annotator grows if two segments merge."""

    def leakage(rows: np.ndarray) -> np.ndarray:
        return np.minimum(rows, rows.sum(axis=1, keepdims=True) - rows).sum(axis=1)

    alone = leakage(table)
    return leakage(table[first] + table[second]) - alone[first] - alone[second]


def fit(evidences: np.ndarray, losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Minimise the weighted cross-entropy of a logistic model; returns the constant and the weight of each evidence."""
    design = np.column_stack([np.ones(len(evidences)), evidences])
    model = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS):
        likely = 1 / (1 + np.exp(-design @ model))
        curvature = (design * (weights * likely * (1 - likely))[:, None]).T @ design
        model += np.linalg.solve(curvature, design.T @ (weights * (losses - likely)))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--dataset", default="bsds500", help="kind of the data set, as in recipes of boundary networks")
    parser.add_argument("--images", type=int, default=100, help="evenly spread over the split")
    parser.add_argument("--weights", required=True, help="folder of a boundary network that has not seen the photographs")
    parser.add_argument("--split", default="val")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    network = boundaries.load("directsam", weights=arguments.weights)
    order = MERGE_ORDERS["learned"]
    images = read_images(arguments.dataset, arguments.data, [arguments.split])
    images = images[:: max(1, len(images) // arguments.images)]
    print("present", order.weights)
    for _ in range(arguments.rounds):
        parts = [samples(image, network, order) for image in images]
        model = fit(*(np.concatenate(part) for part in zip(*parts, strict=True)))
        order = replace(order, weights=tuple(round(float(weight), 2) for weight in model))
        print("fitted ", order.weights, flush=True)


if __name__ == "__main__":
    main()
