"""Time and memory of everything after the boundary network, against the usual way, on one core.

The boundary map is the smoothed colour gradient of a photograph, as wide as high; ``natural`` adds the maps that the shipped
network makes of the example photographs. Times are CPU time of the thread after a warm-up: all parties run on one thread, so
this is the wall-clock time of an idle core. ``_ms`` is the median over repeats and ``_best_ms`` the smallest, which says more
where other programs run and empty the caches; ``ratio`` and ``ratio_best`` compare like with like.

Ours, from a boundary map to a ``Segmentation``: levels, seeds, flood, areas, boxes, mean colours, adjacency and merge tree,
with two kinds of seeds: the connected regions below 0.2 (``below``), and all regional minima (``minima``), which make many
more segments. The usual way, from the same map and the ``below`` seeds: connected components and watershed of scikit-image,
then one boolean mask per segment; ``sorted`` adds what the published pipelines do next, stacking the masks by falling area.
``ratio_minima`` compares ours with the usual way when both are seeded from the minima, which is our default.

Memory is the peak of the resident set of a fresh process over that before the call. Not counted for either side are the
boundary map, which is given, and the returned label map of 4 bytes a pixel. Ours is a partition into 256 segments, seeded
from minima and cut to the budget, from the map alone: the colour gradient of a photograph would add 4 bytes a pixel while the
regions are made, and up to 10 before. Dense masks are 256 bytes a pixel by definition and are not allocated.

Run: ``python benchmarks/postprocess.py``
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from _report import write_report
from subobject.boundaries import load as load_boundaries
from subobject.segments import create_segmenter
from subobject.segments.flood import flood, flood_from_minima, quantise, seeds_below
from subobject.segments.measure import measure
from subobject.segments.merge_order import MERGE_ORDERS
from subobject.segments.tree import build_tree, region_graph
from subobject.structures import Boundaries, Segmentation

THRESHOLD = 0.2
BUDGET = 256
PHOTOS = Path(__file__).parent.parent / "examples" / "photos"
GRADIENT_OF = "astronaut"


def photograph(side: int, name: str = GRADIENT_OF) -> np.ndarray:
    """Read an example photograph at ``side x side`` pixels; ``(side, side, 3)`` uint8 RGB."""
    image = cv2.cvtColor(cv2.imread(str(PHOTOS / f"{name}.png")), cv2.COLOR_BGR2RGB)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)


def boundary_map(image: np.ndarray) -> np.ndarray:
    """Smooth the Lab gradient of an image to a boundary map, ``(H, W)`` float32 in [0, 1]."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    squared = np.zeros(image.shape[:2], np.float32)
    for channel in range(3):
        for direction in ((1, 0), (0, 1)):
            squared += cv2.Sobel(lab[..., channel], cv2.CV_32F, *direction) ** 2
    smooth = cv2.GaussianBlur(np.sqrt(squared), (0, 0), 2)
    return np.clip(smooth / np.percentile(smooth, 98), 0, 1).astype(np.float32)


class Timing(NamedTuple):
    """CPU time of a call in milliseconds over repeats, and its last result."""

    median: float
    best: float
    result: Any


def time_ms(call: Callable[[], Any], repeats: int) -> Timing:
    """Time a call after one warm-up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        result = call()
        times.append((time.thread_time() - start) * 1e3)
    return Timing(statistics.median(times), min(times), result)


def ours(probability: np.ndarray, image: np.ndarray, seeding: str) -> Segmentation:
    """Do all that follows the network."""
    levels = quantise(probability)
    if seeding == "below":
        seeds, count = seeds_below(probability, levels, THRESHOLD)
        labels = flood(levels, seeds)
    else:
        labels, count = flood_from_minima(levels)
    found = measure(labels, count, probability, image)
    graph = region_graph(found.areas, found.pairs, found.lengths, found.strengths, found.colours)
    tree = build_tree(graph, MERGE_ORDERS["learned"])
    return Segmentation(labels, found.boxes, found.areas, tree)


def usual_labels(probability: np.ndarray) -> np.ndarray:
    """Fill the regions below the threshold with scikit-image, ``(H, W)`` int32 from 1."""
    from skimage.measure import label
    from skimage.segmentation import watershed

    return watershed(probability, label(probability < THRESHOLD, connectivity=1))


def usual_labels_at_minima(levels: np.ndarray) -> np.ndarray:
    """Fill the regional minima with scikit-image, ``(H, W)`` int32 from 1."""
    from skimage.measure import label
    from skimage.morphology import local_minima
    from skimage.segmentation import watershed

    return watershed(levels, label(local_minima(levels, connectivity=1), connectivity=1))


def visit_masks(labels: np.ndarray) -> int:
    """Make one boolean mask per segment, dropping each at once: thousands do not fit into memory together."""
    return sum((labels == i).shape[0] for i in range(1, labels.max() + 1))


def masks_of(labels: np.ndarray) -> list[np.ndarray]:
    """Make one boolean mask per segment."""
    return [labels == i for i in range(1, labels.max() + 1)]


def sorted_stack(masks: list[np.ndarray]) -> np.ndarray:
    """Stack masks by falling area, ``(N, H, W)`` bool."""
    return np.stack(sorted(masks, key=np.count_nonzero, reverse=True))


def compare(name: str, image: np.ndarray, probability: np.ndarray, repeats: int) -> dict[str, float | int | str]:
    """Time both on one boundary map."""
    own = time_ms(lambda: ours(probability, image, "below"), repeats * 5)
    own_minima = time_ms(lambda: ours(probability, image, "minima"), repeats * 5)
    watershed = time_ms(lambda: usual_labels(probability), repeats)
    masks = time_ms(lambda: masks_of(watershed.result), repeats)
    sorting = time_ms(lambda: sorted_stack(masks.result), repeats)
    levels = quantise(probability)
    watershed_minima = time_ms(lambda: usual_labels_at_minima(levels), 1)
    masks_minima = time_ms(lambda: visit_masks(watershed_minima.result), 1)
    return {
        "map": name,
        "side": len(image),
        "segments": own.result.num_segments,
        "ours_ms": own.median,
        "ours_best_ms": own.best,
        "segments_minima": own_minima.result.num_segments,
        "ours_minima_ms": own_minima.median,
        "ours_minima_best_ms": own_minima.best,
        "scikit_image_watershed_ms": watershed.median,
        "scikit_image_watershed_best_ms": watershed.best,
        "boolean_masks_ms": masks.median,
        "boolean_masks_best_ms": masks.best,
        "sorting_ms": sorting.median,
        "ratio": (watershed.median + masks.median) / own.median,
        "ratio_best": (watershed.best + masks.best) / own.best,
        "ratio_sorted": (watershed.median + masks.median + sorting.median) / own.median,
        "scikit_image_minima_ms": watershed_minima.median,
        "boolean_masks_minima_ms": masks_minima.median,
        "ratio_minima": (watershed_minima.median + masks_minima.median) / own_minima.median,
        "equal_pixels": float(np.mean(own.result.labels == watershed.result - 1)),
    }


def compare_gradient(side: int, repeats: int) -> dict[str, float | int | str]:
    """Compare on the colour gradient of a photograph."""
    image = photograph(side)
    return compare("gradient", image, boundary_map(image), repeats)


def compare_natural(side: int, repeats: int) -> list[dict[str, float | int | str]]:
    """Compare on the boundary maps that the shipped network makes of the example photographs."""
    names = sorted(path.stem for path in PHOTOS.glob("*.png"))
    images = [photograph(side, name) for name in names]
    maps = load_boundaries("directsam")(images)
    return [compare(name, image, found.probability, repeats) for name, image, found in zip(names, images, maps, strict=True)]


def growth(side: int, repeats: int) -> dict[str, float | int | str]:
    """Time ours at one size, per pixel."""
    image = photograph(side)
    probability = boundary_map(image)
    row: dict[str, float | int | str] = {"side": side}
    for seeding in ("below", "minima"):
        timing = time_ms(lambda kind=seeding: ours(probability, image, kind), repeats)
        row[f"{seeding}_ms"] = timing.median
        row[f"{seeding}_best_ms"] = timing.best
        row[f"{seeding}_best_ns_per_pixel"] = timing.best * 1e6 / side**2
    return row


def resident_bytes() -> tuple[int, int]:
    """Return the resident set of this process, now and at its peak (Linux)."""
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["VmHWM"].split()[0]) * 1024


def measure_memory_here(path: str) -> None:
    """Segment a stored boundary map in this process and print the bytes used beyond it and the label map."""
    segmenter = create_segmenter("watershed")
    rows = np.random.default_rng(0).random((64, 64), np.float32)
    segmenter(None, Boundaries(rows), 8)  # type: ignore[arg-type]
    boundaries = Boundaries(np.load(path))
    before, _ = resident_bytes()
    segmentation = segmenter(None, boundaries, BUDGET)  # type: ignore[arg-type]
    _, peak = resident_bytes()
    print(json.dumps({"segments": segmentation.num_segments, "bytes": peak - before - segmentation.labels.nbytes}))


def memory(side: int) -> dict[str, float | int | str]:
    """Measure ours in a fresh process against dense masks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.npy"
        np.save(path, boundary_map(photograph(side)))
        command = [sys.executable, __file__, "--memory-of", str(path)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    dense = BUDGET * side * side
    return {
        "side": side,
        "segments": found["segments"],
        "ours_bytes": found["bytes"],
        "ours_bytes_per_pixel": found["bytes"] / side**2,
        "dense_masks_bytes": dense,
        "ratio": dense / found["bytes"],
    }


def print_rows(console: Console, title: str, rows: list[dict[str, float | int | str]]) -> None:
    """Print a table with a column for each field."""
    table = Table(title=title)
    for field in rows[0]:
        table.add_column(field, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)


def main() -> None:
    """Run all, print tables, write the report."""
    parser = argparse.ArgumentParser(description="Time and memory of everything after the boundary network, on one core.")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of the slow party; ours takes five times as many")
    parser.add_argument("--memory-of", metavar="NPY", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.memory_of:
        measure_memory_here(arguments.memory_of)
        return
    comparison = [compare_gradient(side, arguments.repeats) for side in (512, 1024)]
    natural = compare_natural(1024, arguments.repeats)
    growing = [growth(side, 2 * arguments.repeats) for side in (512, 1024, 2048, 4096)]
    remembering = [memory(side) for side in (2048, 4096)]
    console = Console(width=180)
    print_rows(console, "Against scikit-image and boolean masks", comparison)
    print_rows(console, "The same, on maps of the shipped network", natural)
    print_rows(console, "Growth", growing)
    print_rows(console, f"Memory beyond map and labels, {BUDGET} segments", remembering)
    payload = {
        "clock": "thread CPU time, median and best",
        "threads": 1,
        "comparison": comparison,
        "natural": natural,
        "growth": growing,
        "memory": remembering,
    }
    console.print(f"written to {write_report('postprocess', payload)}")


if __name__ == "__main__":
    main()
