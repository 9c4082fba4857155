"""Open-addressing hash table from a pair of segments to the number of their border, for compiled code.

A table is two arrays of a power of two as length: ``keys`` int64 and ``values`` int32, -1 where the place is empty. It must
never be full.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def pair_key(a, b, num_segments):
    """Return one int64 for an unordered pair of segments."""
    return np.int64(min(a, b)) * num_segments + max(a, b)


@njit(cache=True, nogil=True)
def _home(key, mask):
    # Fibonacci hashing: 2**64 / golden ratio, as a signed number.
    return ((key * np.int64(-7046029254386353131)) >> np.int64(20)) & mask


@njit(cache=True, nogil=True)
def find(keys, values, key):
    """Return the place of a key, or the empty place where it belongs."""
    mask = values.size - 1
    at = _home(key, mask)
    while values[at] >= 0 and keys[at] != key:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def remove(keys, values, key):
    """Take out a key that is present; later entries of its run move back, so that no mark of deletion is needed."""
    mask = values.size - 1
    hole = find(keys, values, key)
    at = hole
    while True:
        at = (at + 1) & mask
        if values[at] < 0:
            break
        if ((at - _home(keys[at], mask)) & mask) >= ((at - hole) & mask):
            keys[hole] = keys[at]
            values[hole] = values[at]
            hole = at
    values[hole] = -1
