"""Open-addressing hash table from a pair of segments to the number of their border, for compiled code.

A table is an array ``(C, 2)`` int64 with ``C`` a power of two: key and value at each place, -1 as value where it is empty. It
must never be full.
"""

import numpy as np
from numba import njit, uintp


@njit(cache=True, nogil=True)
def empty_table(entries):
    """Return a table that is at most half full with ``entries`` entries."""
    capacity = 16
    while capacity < 2 * entries:
        capacity *= 2
    return np.full((capacity, 2), np.int64(-1))


@njit(cache=True, nogil=True)
def pair_key(a, b):
    """Return one int64 for an unordered pair of segments."""
    return (np.int64(min(a, b)) << 32) | np.int64(max(a, b))


@njit(cache=True, nogil=True)
def _home(key, mask):
    # Fibonacci hashing: 2**64 / golden ratio, as a signed number. Its upper half mixes all bits of the key.
    return ((key * np.int64(-7046029254386353131)) >> np.int64(32)) & mask


@njit(cache=True, nogil=True)
def find(table, key):
    """Return the place of a key, or the empty place where it belongs."""
    mask = len(table) - 1
    at = _home(key, mask)
    while table[at, 1] >= 0 and table[at, 0] != key:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def remove(table, key):
    """Take out a key that is present; later entries of its run move back, so that no mark of deletion is needed."""
    mask = len(table) - 1
    hole = find(table, key)
    at = hole
    while True:
        at = (at + 1) & mask
        if table[at, 1] < 0:
            break
        if ((at - _home(table[at, 0], mask)) & mask) >= ((at - hole) & mask):
            table[hole, 0] = table[at, 0]
            table[hole, 1] = table[at, 1]
            hole = at
    table[hole, 1] = -1


@njit(cache=True, nogil=True)
def number_pairs(firsts, seconds, places, table, pairs, count, numbers):
    """Number the pairs of labels at some places of two rows, in the order in which they are met first.

    The search of ``find`` is written out: a call that passes arrays counts references, which would take most of the time here.

    Args:
        firsts: Labels, ``(W,)`` int32.
        seconds: Labels, ``(W,)`` int32, different from the first ones at the places.
        places: Positions in both, ``(M,)`` int32.
        table: The numbers of the pairs met so far.
        pairs: The pairs met so far, the smaller label first, ``(E, 2)`` int32 with room for more.
        count: Number of pairs met so far.
        numbers: Written to: the number of the pair at each place, ``(M,)`` int32.

    Returns:
        The number of pairs met, or -1 if there was no room for one more.
    """
    mask = len(table) - 1
    last, number = np.int64(-1), np.int32(-1)
    for k in range(uintp(places.size)):
        x = uintp(places[k])
        a, b = min(firsts[x], seconds[x]), max(firsts[x], seconds[x])
        key = pair_key(a, b)
        if key != last:
            last = key
            at = _home(key, mask)
            while table[at, 1] >= 0 and table[at, 0] != key:
                at = (at + 1) & mask
            if table[at, 1] < 0:
                if count == len(pairs):
                    return -1
                table[at, 0], table[at, 1] = key, count
                pairs[count, 0], pairs[count, 1] = a, b
                count += 1
            number = np.int32(table[at, 1])
        numbers[k] = number
    return count
