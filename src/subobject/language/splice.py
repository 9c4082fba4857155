"""Splicing: image tokens between ``<SOI>`` and ``<EOI>`` in a text, labels on the text only, and batches padded or packed.

Pure array functions. A text that holds image places becomes one ``Spliced`` sequence; sequences of unequal lengths become one
batch, either padded, or packed: laid one after the other in rows, each starting again at position 0, by which attention is
block-diagonal.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

IGNORED = -100
"""Label of a position that is no target of the loss."""


class Places(NamedTuple):
    """Token ids of an image place ``<image>`` and of the markers ``<SOI>`` and ``<EOI>`` around the image's tokens."""

    image: int
    soi: int
    eoi: int


ADDED_TOKENS = ("<image>", "<SOI>", "<EOI>")
"""What is added to a tokenizer, in the order of ``Places``."""


def find_places(tokenizer: Any) -> Places:
    """Return the ids of the three added tokens of a tokenizer of transformers.

    Raises:
        ValueError: If it lacks one.
    """
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in ADDED_TOKENS if token not in vocabulary]
    if missing:
        raise ValueError(f"the tokenizer lacks {missing[0]}: make a SubobjectProcessor of it first, which adds it")
    return Places(*(vocabulary[token] for token in ADDED_TOKENS))


class Spliced(NamedTuple):
    """A text with the tokens of its images.

    Attributes:
        ids: Token ids, ``(L,)`` int64; every image token has the id ``Places.image``.
        labels: The ids again where they are targets of the loss, ``IGNORED`` elsewhere, ``(L,)`` int64.
    """

    ids: np.ndarray
    labels: np.ndarray


class Rows(NamedTuple):
    """A batch of ``R`` rows.

    Attributes:
        ids: ``(R, L)`` int64.
        labels: ``(R, L)`` int64.
        positions: Position of each token in its own sequence, ``(R, L)`` int64.
        mask: 1 for tokens and 0 for padding, ``(R, L)`` int64.
        members: Indices of the sequences in each row, in their order.
    """

    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    mask: np.ndarray
    members: list[list[int]]


def expand(ids: np.ndarray, counts: Sequence[int], places: Places) -> np.ndarray:
    """Replace each image place by ``<SOI>``, as many places as the image has tokens, and ``<EOI>``.

    Args:
        ids: Token ids of a text, ``(T,)`` int64, with one ``places.image`` an image.
        counts: Tokens of each image.
        places: Ids of the three added tokens.

    Raises:
        ValueError: If there are not as many places as images, or the text holds a marker already.

    Example:
        >>> expand(np.array([7, 1, 8]), [2], Places(image=1, soi=2, eoi=3)).tolist()
        [7, 2, 1, 1, 3, 8]
    """
    at = np.flatnonzero(ids == places.image)
    if len(at) != len(counts):
        raise ValueError(f"the text has {len(at)} image places, but {len(counts)} images were given: write <image> once an image")
    if np.isin(ids, (places.soi, places.eoi)).any():
        raise ValueError("the text holds <SOI> or <EOI>: write only <image>, its markers are added")
    repeats = np.ones(len(ids), dtype=np.int64)
    repeats[at] = np.asarray(counts, dtype=np.int64) + 2
    spliced = np.repeat(ids, repeats)
    ends = np.cumsum(repeats)[at]
    spliced[ends - repeats[at]] = places.soi
    spliced[ends - 1] = places.eoi
    return spliced


def label(ids: np.ndarray, is_target: np.ndarray, places: Places) -> Spliced:
    """Label the targets among the text: image tokens and markers are never targets, nor is the first token of a sequence.

    Args:
        ids: Spliced token ids, ``(L,)`` int64.
        is_target: Where the loss is wanted, ``(L,)`` bool.
        places: Ids of the three added tokens.
    """
    wanted = is_target & ~np.isin(ids, places)
    wanted[:1] = False  # Nothing comes before it in its own sequence, and in a packed row it must not be predicted.
    return Spliced(ids, np.where(wanted, ids, IGNORED))


def bins(lengths: Sequence[int], capacity: int | None) -> list[list[int]]:
    """Put sequences into as few rows as first-fit decreasing finds.

    Args:
        lengths: Length of each sequence.
        capacity: Largest length of a row; ``None`` puts all into one row.

    Returns:
        Indices of the sequences in each row, ascending within a row.

    Raises:
        ValueError: If a sequence is longer than a row.

    Example:
        >>> bins([5, 3, 2, 4], capacity=7)
        [[0, 2], [1, 3]]
    """
    if capacity is None:
        return [list(range(len(lengths)))]
    longest = max(lengths, default=0)
    if longest > capacity:
        raise ValueError(
            f"a sequence of {longest} tokens does not fit a row of {capacity}: raise row_length, or lower max_tokens"
        )
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        row = next((row for row, left in enumerate(room) if left >= lengths[index]), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(capacity)
        rows[row].append(index)
        room[row] -= lengths[index]
    return [sorted(row) for row in rows]


def lay_out(
    sequences: Sequence[Spliced], members: list[list[int]], pad_id: int, side: Literal["left", "right"] = "right"
) -> Rows:
    """Lay sequences out in rows.

    Args:
        sequences: What to lay out.
        members: Indices of the sequences in each row: one each for padding, ``bins`` for packing.
        pad_id: Id of padding.
        side: Where rows shorter than the longest are padded.
    """
    lengths = [sum(len(sequences[index].ids) for index in row) for row in members]
    shape = (len(members), max(lengths))
    ids, labels = np.full(shape, pad_id, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
    positions, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, (indices, length) in enumerate(zip(members, lengths, strict=True)):
        at = slice(0, length) if side == "right" else slice(shape[1] - length, shape[1])
        ids[row, at] = np.concatenate([sequences[index].ids for index in indices])
        labels[row, at] = np.concatenate([sequences[index].labels for index in indices])
        positions[row, at] = np.concatenate([np.arange(len(sequences[index].ids)) for index in indices])
        mask[row, at] = 1
        if side == "right":  # Padding is a sequence of its own: it restarts at position 0.
            positions[row, length:] = np.arange(shape[1] - length)
    return Rows(ids, labels, positions, mask, members)


def stack_tokens(arrays: Sequence[np.ndarray], rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Lay the tokens of images out by row, ``(R, M, D)`` float32, zero behind the last: vectors, or boxes with ``D = 4``.

    Args:
        arrays: Of each image, ``(N, D)`` float32.
        rows: Indices of the images in each row, in the order of their places.
    """
    counts = [sum(len(arrays[image]) for image in row) for row in rows]
    stacked = np.zeros((len(rows), max(counts), arrays[0].shape[1]), dtype=np.float32)
    for target, row, count in zip(stacked, rows, counts, strict=True):
        if count:
            target[:count] = np.concatenate([arrays[image] for image in row])
    return stacked
