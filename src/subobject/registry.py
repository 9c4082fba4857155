"""Lookup in the literal tables of members that each stage keeps; the one error message for unknown names."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return the member of a table.

    Args:
        table: Members by name.
        name: The name to look up.
        kind: What the members are, for the message ("segmenter").

    Raises:
        ValueError: If the name is unknown; the message lists the known ones.

    Example:
        >>> lookup({"slic": 1, "seeds": 2}, "slik", "segmenter")
        Traceback (most recent call last):
        ...
        ValueError: unknown segmenter 'slik': did you mean 'slic'? Known: seeds, slic
    """
    if name in table:
        return table[name]
    close = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(sorted(table))}")


def load_member(location: str) -> Any:
    """Import a member that a table holds as ``"module:name"``; tables do so to keep heavy packages unloaded until used."""
    module, _, name = location.partition(":")
    return getattr(importlib.import_module(module), name)
