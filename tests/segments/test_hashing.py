"""The hash table of pairs against a dictionary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from subobject.segments.hashing import empty_table, find, number_pairs, pair_key, remove

PAIRS = st.tuples(st.integers(0, 6), st.integers(0, 6))


@given(st.lists(st.tuples(st.booleans(), PAIRS), max_size=80))
def test_table_equals_dictionary(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    table, twin = empty_table(28), {}
    for step, (adding, (a, b)) in enumerate(steps):
        key = pair_key(a, b)
        at = find(table, key)
        assert (table[at, 1] >= 0) == (key in twin)
        if adding:
            table[at] = key, step
            twin[key] = step
        elif key in twin:
            remove(table, key)
            del twin[key]
        assert all(table[find(table, known), 1] == value for known, value in twin.items())


@given(st.lists(PAIRS, max_size=60))
def test_pairs_are_numbered_in_the_order_in_which_they_are_met(met: list[tuple[int, int]]) -> None:
    firsts, seconds = np.array(met, np.int32).reshape(-1, 2).T.copy()
    places = np.flatnonzero(firsts != seconds).astype(np.int32)
    twin = {}
    expected = [twin.setdefault(tuple(sorted(met[x])), len(twin)) for x in places]
    pairs, numbers = np.empty((30, 2), np.int32), np.empty(len(met), np.int32)
    count = number_pairs(firsts, seconds, places, empty_table(30), pairs, 0, numbers)
    assert count == len(twin)
    assert numbers[: len(places)].tolist() == expected
    assert [tuple(pair) for pair in pairs[:count].tolist()] == list(twin)
    if count:
        assert number_pairs(firsts, seconds, places, empty_table(30), pairs[: count - 1], 0, numbers) == -1
