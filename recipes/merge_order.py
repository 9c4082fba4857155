"""Fit the weights of the learned merge order (`src/subobject/segments/merge_order.py`) to photographs of BSDS500.

    python recipes/merge_order.py BSDS500_FOLDER --weights runs/candidates/EfficientNet-Lite0-ImageNet/final --split val

The boundary network must not have seen the photographs: on those that it has, its boundaries are better than elsewhere, and the
weights would trust them too much. `benchmarks/boundary_candidates.py` trains such a network on `train` alone.

Photographs are cut to several budgets in the present order. What is to be told of two neighbours is the share of the smaller
one that merging them puts wrong: the growth of the undersegmentation error, averaged over annotators, over twice the smaller
area. A logistic model of `evidence` is fitted to it by Newton's method; pairs weigh by the root of the smaller area's share. The
weights decide which pairs are met, so they are fitted in rounds. First come those of the early merges, then those of the merges
that take walks into account.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from subobject import boundaries
from subobject.data import AnnotatedImage, read_images
from subobject.metrics.segments import contingency
from subobject.segments.agglomeration import Graph, evidence
from subobject.segments.colour import colour_gradient
from subobject.segments.contraction import contract
from subobject.segments.measure import measure
from subobject.segments.merge_order import MERGE_ORDERS, MergeOrder
from subobject.segments.tree import region_graph
from subobject.segments.walks import WALKED_REGIONS, add_walks
from subobject.segments.watershed import Watershed

BUDGETS = (600, 256, 128, 90, 64, 45, 32, 16)
NEWTON_STEPS = 20


def samples(
    image: AnnotatedImage, network: boundaries.BoundaryModel, order: MergeOrder
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return evidence ``(S, 6)``, loss in [0, 1] and weight, ``(S,)`` each, of the neighbours in the cuts of a photograph."""
    pixels, annotators = image.image(), [layer for stack in image.layers() for layer in stack]
    found = network([pixels])[0]
    segmenter = Watershed(merge_order=order)
    finest = segmenter(pixels, found)
    strength = np.minimum(found.probability + np.float32(segmenter.colour_weight) * colour_gradient(pixels), 1)
    basins = measure(finest.labels, finest.num_segments, strength, pixels)
    graph = region_graph(basins.areas, basins.pairs, basins.lengths, basins.strengths, basins.colours)
    tables = [contingency(finest.labels, annotator) for annotator in annotators]
    tree = finest.tree
    if order.early is not None:
        tree, assignment = tree.prune(min(WALKED_REGIONS, tree.num_segments))
        graph = add_walks(contract(graph, assignment))
        tables = [_joined(table, assignment) for table in tables]
    cuts = [tree.prune(budget)[1] for budget in BUDGETS if budget <= tree.num_segments]
    parts = [_neighbours(contract(graph, cut), [_joined(table, cut) for table in tables]) for cut in cuts]
    evidences, losses, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return evidences, losses, weights


def _joined(table: np.ndarray, assignment: np.ndarray) -> np.ndarray:
    joined = np.zeros((int(assignment.max()) + 1, table.shape[1]), table.dtype)
    np.add.at(joined, assignment, table)
    return joined


def _neighbours(graph: Graph, tables: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, second = graph.pairs.T
    shares = np.log(graph.areas / graph.areas.sum())
    columns = (graph.strengths, *(graph.lab[first] - graph.lab[second]).T, shares[first], shares[second], graph.walks)
    evidences = np.array([evidence(*row) for row in zip(*columns, strict=True)])
    smaller = np.minimum(graph.areas[first], graph.areas[second])
    growth = np.mean([_growth(table, first, second) for table in tables], axis=0)
    return evidences, np.clip(growth / (2 * smaller), 0, 1), np.sqrt(smaller / graph.areas.sum())


def _growth(table: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return by how many pixels the undersegmentation error of one annotator grows if two segments merge."""

    def leakage(rows: np.ndarray) -> np.ndarray:
        return np.minimum(rows, rows.sum(axis=1, keepdims=True) - rows).sum(axis=1)

    alone = leakage(table)
    return leakage(table[first] + table[second]) - alone[first] - alone[second]


def fit(evidences: np.ndarray, losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Minimise the weighted cross-entropy of a logistic model.

    Returns:
        The constant and the weight of each evidence; 0 for one that never differs, as walks where nobody walked.
    """
    varies = np.ptp(evidences, axis=0) > 0
    design = np.column_stack([np.ones(len(evidences)), evidences[:, varies]])
    model = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS):
        likely = 1 / (1 + np.exp(-design @ model))
        curvature = (design * (weights * likely * (1 - likely))[:, None]).T @ design
        model += np.linalg.solve(curvature, design.T @ (weights * (losses - likely)))
    fitted = np.zeros(1 + evidences.shape[1])
    fitted[np.flatnonzero([True, *varies])] = model
    return fitted


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
    assert order.early is not None
    early = _fitted("early", order.early, images, network, arguments.rounds)
    _fitted("order", replace(order, early=early), images, network, arguments.rounds)


def _fitted(
    name: str, order: MergeOrder, images: list[AnnotatedImage], network: boundaries.BoundaryModel, rounds: int
) -> MergeOrder:
    print(name, "present", order.weights)
    for _ in range(rounds):
        parts = [samples(image, network, order) for image in images]
        model = fit(*(np.concatenate(part) for part in zip(*parts, strict=True)))
        order = replace(order, weights=tuple(round(float(weight), 2) for weight in model))
        print(name, "fitted ", order.weights, flush=True)
    return order


if __name__ == "__main__":
    main()
