"""Thinning of binary maps, and one-to-one matching of the pixels of two of them: the compiled part of the boundary scores.

``thin`` is the algorithm of Guo and Hall (*Parallel thinning with two-subiteration algorithms*, CACM 32(3), 1989), which is
``bwmorph(..., "thin", Inf)`` of MATLAB and ``skimage.morphology.thin``.

``match_pixels`` finds a matching of maximum cardinality. The Berkeley benchmark instead solves an assignment of least total
distance in which leaving a pixel unmatched costs 100 times the largest distance, with a few random edges to outlier nodes.
That price makes its matching one of maximum cardinality too, save for the randomness; only which pixels are matched may differ.
Here pairs are first taken in order of distance and then extended by augmenting paths, which never release a matched pixel.
"""

import math

import numpy as np
from numba import njit


def _deletions() -> np.ndarray:
    """Return for both subiterations whether a pixel with the given neighbours goes, ``(2, 256)`` bool.

    Bit ``i`` of the index is the neighbour ``x_{i+1}`` of the paper: counter-clockwise from the east.
    """
    index = np.arange(256)
    x = [(index >> bit) & 1 == 1 for bit in range(8)]
    after = [x[(i + 1) % 8] for i in range(8)]
    crossings = sum((~x[i] & (x[i + 1] | x[(i + 2) % 8])).astype(int) for i in (0, 2, 4, 6))
    first = sum((x[i] | after[i]).astype(int) for i in (0, 2, 4, 6))
    second = sum((x[i] | after[i]).astype(int) for i in (1, 3, 5, 7))
    fewest = np.minimum(first, second)
    either = (crossings == 1) & (fewest >= 2) & (fewest <= 3)
    return np.stack([either & ~((x[1] | x[2] | ~x[7]) & x[0]), either & ~((x[5] | x[6] | ~x[3]) & x[4])])


_DELETIONS = _deletions()


def thin(mask: np.ndarray) -> np.ndarray:
    """Thin a binary map to lines one pixel wide.

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        ``(H, W)`` bool, a subset of ``mask`` with the same 8-connected components.
    """
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), dtype=np.uint8)
    padded[1:-1, 1:-1] = mask
    flat = padded.reshape(-1)
    _thin(flat, np.flatnonzero(flat), padded.shape[1], _DELETIONS)
    return padded[1:-1, 1:-1].astype(bool)


def disc_offsets(radius: float) -> np.ndarray:
    """Return all steps ``(dy, dx)`` no longer than ``radius`` pixels, nearest first, ``(K, 2)`` int64."""
    reach = math.floor(radius)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    squared = dy * dy + dx * dx
    order = np.argsort(squared, kind="stable")
    kept = order[squared[order] <= radius * radius]
    return np.stack([dy[kept], dx[kept]], axis=1)


def match_pixels(first: np.ndarray, second: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Match the set pixels of two maps one to one, as many as possible, none farther apart than ``radius``.

    Args:
        first: ``(H, W)`` bool.
        second: ``(H, W)`` bool.
        radius: Largest Euclidean distance of a pair, in pixels, at least 0.

    Returns:
        The matched pixels of the first and of the second map, ``(H, W)`` bool each, equally many.

    Raises:
        ValueError: If the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"the maps to match differ in size: {first.shape} and {second.shape}")
    # Searching from the side with fewer pixels is faster and gives a matching of the same size.
    if np.count_nonzero(first) > np.count_nonzero(second):
        matched_second, matched_first = match_pixels(second, first, radius)
        return matched_first, matched_second
    offsets = disc_offsets(radius)
    margin = int(offsets.max())
    width = first.shape[1] + 2 * margin
    sources = np.flatnonzero(np.pad(first, margin))
    targets = np.flatnonzero(np.pad(second, margin))
    target_at = np.full((first.shape[0] + 2 * margin) * width, -1, dtype=np.int32)
    target_at[targets] = np.arange(len(targets), dtype=np.int32)
    partner = _match(sources, target_at, len(targets), offsets[:, 0] * width + offsets[:, 1])
    matched_first, matched_second = np.zeros_like(first), np.zeros_like(second)
    matched_first[first] = partner >= 0
    hit = np.zeros(len(targets), dtype=bool)
    hit[partner[partner >= 0]] = True
    matched_second[second] = hit
    return matched_first, matched_second


@njit(cache=True, nogil=True)
def _thin(flat, pixels, width, deletions):
    neighbours = np.array([1, 1 - width, -width, -1 - width, -1, width - 1, width, width + 1])
    alive = pixels.copy()
    count = len(alive)
    doomed = np.empty(count, np.int64)
    changed = True
    while changed:
        changed = False
        for half in range(2):
            kept, gone = 0, 0
            for k in range(count):
                p = alive[k]
                index = np.int64(0)
                for bit in range(8):
                    index |= np.int64(flat[p + neighbours[bit]]) << bit
                if deletions[half, index]:
                    doomed[gone] = p
                    gone += 1
                else:
                    alive[kept] = p
                    kept += 1
            for k in range(gone):
                flat[doomed[k]] = 0
            count = kept
            changed = changed or gone > 0


@njit(cache=True, nogil=True)
def _match(sources, target_at, num_targets, steps):
    """Return the target of each source or -1: nearest pairs first, then augmenting paths until none is left."""
    n = len(sources)
    starts = np.zeros(n + 1, np.int64)
    for i in range(n):
        degree = 0
        for step in steps:
            degree += target_at[sources[i] + step] >= 0
        starts[i + 1] = starts[i] + degree
    adjacent = np.empty(starts[n], np.int32)
    for i in range(n):
        k = starts[i]
        for step in steps:
            target = target_at[sources[i] + step]
            if target >= 0:
                adjacent[k] = target
                k += 1
    partner = np.full(n, -1, np.int32)
    owner = np.full(num_targets, -1, np.int32)
    for step in steps:
        for i in range(n):
            if partner[i] < 0:
                target = target_at[sources[i] + step]
                if target >= 0 and owner[target] < 0:
                    partner[i] = target
                    owner[target] = i
    free = np.flatnonzero((partner < 0) & (starts[1:] > starts[:-1]))
    visited = np.full(num_targets, -1, np.int32)
    cursor = np.empty(n, np.int64)
    path = np.empty(n, np.int32)
    look = starts[:-1].copy()
    phase = 0
    progress = True
    while progress:
        progress = False
        cursor[:] = starts[:-1]
        for root in free:
            if partner[root] < 0 and _augment(root, starts, adjacent, partner, owner, visited, phase, cursor, look, path):
                progress = True
        phase += 1
    return partner


@njit(cache=True, nogil=True)
def _augment(root, starts, adjacent, partner, owner, visited, phase, cursor, look, path):
    """Search one augmenting path from a free source, depth first; no target is visited twice in a phase."""
    depth = 0
    path[0] = root
    while depth >= 0:
        source = path[depth]
        found = np.int32(-1)
        # Targets never become free again, so each source looks for a free one only once over all phases.
        while look[source] < starts[source + 1]:
            target = adjacent[look[source]]
            look[source] += 1
            if owner[target] < 0:
                found = target
                break
        if found >= 0:
            visited[found] = phase
            while depth >= 0:
                source = path[depth]
                before = partner[source]
                partner[source] = found
                owner[found] = source
                found = before
                depth -= 1
            return True
        advanced = False
        while cursor[source] < starts[source + 1]:
            target = adjacent[cursor[source]]
            cursor[source] += 1
            if visited[target] != phase:
                visited[target] = phase
                depth += 1
                path[depth] = owner[target]
                advanced = True
                break
        if not advanced:
            depth -= 1
    return False
