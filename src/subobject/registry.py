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


def open_member(table: Mapping[str, str], name: str, kind: str, weights: Any, **network: Any) -> Any:
    """Make a member of a table, with its network if it has one.

    Args:
        table: ``"module:name"`` by name.
        name: The name to look up.
        kind: What the members are, for messages.
        weights: Release, folder or hub id for the member's ``from_pretrained``; ``None`` takes its default.
        **network: What runs the network (``runtime``, ``device``, ``threads``); left out where there is none.

    Raises:
        ValueError: If the name is unknown, or weights are given to a member that has none.
    """
    member = load_member(lookup(table, name, kind))
    if not hasattr(member, "from_pretrained"):
        if weights is not None:
            raise ValueError(f"the {kind} {name!r} has no weights: leave them out, or use another {kind}")
        return member()
    named = {} if weights is None else {"name_or_folder": weights}
    return member.from_pretrained(**named, **network)
