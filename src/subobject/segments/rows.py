"""Find the few pixels of a row that matter, in compiled code.

Most passes over an image ask a question that few pixels answer with yes: is this the end of a run, has this one no label yet?
The answers of a row are written as bytes 0 and 1 by a loop without branches, which the compiler vectorises, and eight of them
are skipped at a time where all are 0. One branch a pixel would take several times as long.

Loops that are to be vectorised index with ``uintp``: Python's negative indices count from the end, and the test for them stands
in the way.
"""

import numpy as np
from numba import njit, uintp


@njit(cache=True, nogil=True)
def flag_row(width):
    """Return flags of a row, ``(width,)`` uint8 of 0, and the same memory as words, ``(ceil(width / 8),)`` uint64."""
    words = np.zeros((width + 7) // 8, np.uint64)
    return words.view(np.uint8)[:width], words


@njit(cache=True, nogil=True)
def flagged(words, found):
    """Write the positions of flags that are 1, ascending, and return their number.

    Args:
        words: Second result of ``flag_row``.
        found: Integers, at least 8 longer than there are flags that are 1: what lies behind them is overwritten.
    """
    flags = words.view(np.uint8)
    count = uintp(0)
    for i in range(uintp(words.size)):
        if words[i] != 0:
            x = i * uintp(8)
            for _ in range(8):
                found[count] = x
                count += uintp(flags[x])
                x += uintp(1)
    return count
