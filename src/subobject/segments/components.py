"""4-connected components by runs: two-pass labelling with union-find over the runs of the rows (He, Chao and Suzuki,
*A Run-Based Two-Scan Labeling Algorithm*, 2008).

Work is linear in the pixels but for the union-find; memory is eight bytes a run.
"""

import numpy as np
from numba import njit, uintp

from subobject.segments.rows import flag_row, flagged


def components(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Find the 4-connected components of equal values.

    Args:
        values: ``(H, W)``, any integer or bool dtype.

    Returns:
        Component of each pixel, ``(H, W)`` int32, numbered by first pixel in raster order, and their number.
    """
    labels = np.empty(values.shape, np.int32)
    return labels, int(_label(checked_map(values), None, labels, 0))


def label_components(values: np.ndarray, wanted: int | np.uint8, labels: np.ndarray, first: int) -> int:
    """Number the 4-connected components of the pixels with a wanted value; the labels of other pixels stay as they are.

    Args:
        values: ``(H, W)``, any integer or bool dtype, contiguous.
        wanted: The value.
        labels: ``(H, W)`` int32, written to.
        first: Label of the component that comes first in raster order.

    Returns:
        One more than the last label, or ``first`` where there is none.
    """
    return int(_label(values, values.dtype.type(wanted), labels, first))


def checked_map(values: np.ndarray) -> np.ndarray:
    """Return a map ``(H, W)`` as contiguous array; a ``ValueError`` where it is empty or too large for int32 positions."""
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"expected shape (H, W) with at least one pixel, got {values.shape}")
    if values.size >= 2**31:
        raise ValueError(f"the image has {values.size} pixels: fewer than 2**31 are supported")
    return np.ascontiguousarray(values)


@njit(cache=True, nogil=True)
def root(parents, i):
    """Follow parents to the root of a union-find forest, halving the path."""
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True, nogil=True)
def relabel(labels, table):
    """Replace each label ``i`` of a map ``(H, W)`` by ``table[i]``, in place."""
    for y in range(labels.shape[0]):
        row = labels[y]
        for x in range(uintp(row.size)):
            row[x] = table[uintp(row[x])]


@njit(cache=True, nogil=True)
def _flag_edges(row, wanted, flags):
    """Flag where runs begin and end: of equal values, or of one wanted value."""
    width = row.size
    flags[0] = wanted is None or row[0] == wanted
    flags[width] = wanted is None or row[width - 1] == wanted
    for x in range(uintp(1), uintp(width)):
        if wanted is None:
            flags[x] = row[x] != row[x - uintp(1)]
        else:
            flags[x] = (row[x] == wanted) != (row[x - uintp(1)] == wanted)


@njit(cache=True, nogil=True)
def _label(values, wanted, labels, first):
    height, width = values.shape
    # Runs of equal values share their edges with the next run; those of a wanted value have two of their own.
    shared, stride = (1, 1) if wanted is None else (0, 2)
    flags, words = flag_row(width + 1)
    first_run = np.zeros(height + 1, np.int64)  # runs of row y: first_run[y] .. first_run[y + 1]
    for y in range(height):
        _flag_edges(values[y], wanted, flags)
        first_run[y + 1] = first_run[y] + (flags.sum() - shared) // stride
    runs = np.empty((first_run[height], 2), np.int32)  # where they start and stop
    parents = np.arange(first_run[height]).astype(np.int32)
    edges = np.empty(width + 9, np.int32)
    for y in range(height):
        start, stop = first_run[y], first_run[y + 1]
        if start == stop:
            continue
        _flag_edges(values[y], wanted, flags)
        flagged(words, edges)
        for k in range(uintp(stop - start)):
            runs[uintp(start) + k, 0], runs[uintp(start) + k, 1] = edges[k * uintp(stride)], edges[k * uintp(stride) + uintp(1)]
        if y > 0:
            _join_rows(values[y - 1], values[y], wanted is None, runs, parents, first_run[y - 1], start, stop)

    # A root is the first run of its component, and parents come before their children: labels overtake the pointers.
    label = np.int32(first)
    for y in range(height):
        row = labels[y]
        for run in range(first_run[y], first_run[y + 1]):
            if parents[run] == run:
                parents[run] = label
                label += 1
            else:
                parents[run] = parents[parents[run]]
            for x in range(uintp(runs[run, 0]), uintp(runs[run, 1])):
                row[x] = parents[run]
    return label


@njit(cache=True, nogil=True)
def _join_rows(above, row, compare, runs, parents, i, j, end):
    """Unite the runs ``i .. j`` of a row with the runs ``j .. end`` of the next row that they touch."""
    middle = j
    while i < middle and j < end:
        stop, other_stop = runs[i, 1], runs[j, 1]
        x = max(runs[i, 0], runs[j, 0])
        if x < min(stop, other_stop) and (not compare or above[x] == row[x]):
            a, b = root(parents, i), root(parents, j)
            parents[max(a, b)] = min(a, b)
        i += stop <= other_stop
        j += other_stop <= stop
