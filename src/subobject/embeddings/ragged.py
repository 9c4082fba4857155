"""Bin-packing: segments laid behind each other in rows, for attention that is block-diagonal over segments.

Where attention skips what a block-diagonal mask hides (``blocks.block_diagonal``), rows cost what their pixels cost, whatever the
lengths; buckets of similar length (``sequence.buckets``) serve where it does not. A row holds the cells of a segment, its
queries, the cells of the next one, and so on.
"""

import numpy as np

from subobject.embeddings.sequence import PackedSegments

ROW_LENGTH = 2048
"""Positions of a row, unless a single segment needs more."""
ROWS = 16
"""Rows of one call of a network; bounds memory."""
_MULTIPLE = 128


def bins(lengths: np.ndarray, capacity: int) -> list[np.ndarray]:
    """Pack lengths into bins, first fit by falling length (at most 11 / 9 of the least number of bins, plus one).

    Args:
        lengths: ``(N,)`` integer, each from 1 to ``capacity``.
        capacity: Largest sum of a bin.

    Returns:
        Index arrays that hold every index of ``0 .. N - 1`` once.

    Raises:
        ValueError: If a length is larger than a bin.

    Example:
        >>> [group.tolist() for group in bins(np.array([3, 6, 4, 5]), 9)]
        [[1, 0], [3, 2]]
    """
    if len(lengths) and lengths.max() > capacity:
        raise ValueError(f"a sequence of {lengths.max()} positions does not fit into a row of {capacity}")
    groups: list[list[int]] = []
    free = np.full(len(lengths), capacity)
    for i in np.argsort(-lengths, kind="stable").tolist():
        place = int(np.argmax(free >= lengths[i]))
        if place == len(groups):
            groups.append([])
        groups[place].append(i)
        free[place] -= lengths[i]
    return [np.array(group) for group in groups]


def rows(sizes: np.ndarray, queries: int, context: int) -> list[list[np.ndarray]]:
    """Plan the calls of a network: for each call the segments of each of its at most ``ROWS`` rows.

    Args:
        sizes: Crop sizes ``(h, w)``, ``(N, 2)`` integer.
        queries: Positions of a segment beside its cells.
        context: Largest number of cells of a segment.
    """
    groups = bins(sizes.astype(np.int64).prod(axis=1) + queries, row_length(queries, context))
    return [groups[start : start + ROWS] for start in range(0, len(groups), ROWS)]


def row_length(queries: int, context: int) -> int:
    """Return the positions of a row: a multiple of the block of ``flex_attention``."""
    return -(-max(ROW_LENGTH, context + queries) // _MULTIPLE) * _MULTIPLE


def lay_out(packed: PackedSegments, groups: list[np.ndarray], queries: int) -> dict[str, np.ndarray]:
    """Lay segments behind each other.

    Args:
        packed: The sequences.
        groups: The segments of each row.
        queries: Positions of a segment beside its cells.

    Returns:
        ``pixels`` ``(R, L, 4)`` float32; ``index`` ``(R, L)`` int64, the number of a cell in its segment and above those its
        queries; ``segment`` ``(R, L)`` int64, counted through the groups, -1 behind the end of a row; ``sizes`` ``(N, 2)``
        int64. ``L`` is the longest row, rounded up to a multiple of 128.
    """
    sizes = packed.sizes[np.concatenate(groups)].astype(np.int64)
    longest = max(int(packed.sizes[group].astype(np.int64).prod(axis=1).sum()) + queries * len(group) for group in groups)
    length = -(-longest // _MULTIPLE) * _MULTIPLE
    pixels = np.zeros((len(groups), length, 4), dtype=np.float32)
    index = np.zeros((len(groups), length), dtype=np.int64)
    segment = np.full((len(groups), length), -1, dtype=np.int64)
    number = 0
    for row, group in enumerate(groups):
        start = 0
        for member in group:
            sequence = packed[member]
            end = start + len(sequence) + queries
            pixels[row, start : start + len(sequence)] = sequence
            index[row, start:end] = np.arange(end - start)
            segment[row, start:end] = number
            start, number = end, number + 1
    return {"pixels": pixels, "index": index, "segment": segment, "sizes": sizes}
