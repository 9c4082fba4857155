"""Any set of masks to a partition: overlaps go to one of the masks, gaps are filled, and disconnected parts are split.

The rule, in this order:

1. Where masks overlap, the pixel goes to the one that lies on top: by default the smallest, so that parts stay visible on wholes.
2. What no mask claims is a gap. 4-connected gaps and parts of masks that are small enough are given away.
3. What was given away goes to the nearest neighbour, counted in steps between 4-neighbours.
4. Each 4-connected part of a mask, and each remaining gap, becomes a segment of its own.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numba import njit

from subobject.segments.components import components
from subobject.segments.mask_formats import MaskSet, read_masks
from subobject.segments.partition import segmentation_from_partition
from subobject.structures import Segmentation

_OPEN = np.int32(-2)

OnTop = Literal["smallest", "largest", "best", "first", "last"]


@dataclass(frozen=True)
class PartitionRule:
    """How masks become a partition.

    Attributes:
        on_top: Which mask keeps a pixel that several claim: the ``smallest`` or ``largest`` by area, the ``best`` by score, or
            the ``first`` or ``last`` in the order given. Of equals the later one.
        fill: Gaps of at most this share of the image's pixels are given to their neighbours; larger ones become segments. 1 fills
            all gaps, 0 none.
        smallest_part: Parts of masks of less than this share of the image's pixels are given to their neighbours.
    """

    on_top: OnTop = "smallest"
    fill: float = 0.001
    smallest_part: float = 0.0

    def __post_init__(self) -> None:
        if self.on_top not in get_args(OnTop):
            raise ValueError(f"on_top is {self.on_top!r}: use one of {', '.join(get_args(OnTop))}")
        for name in ("fill", "smallest_part"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: use a share of the image's pixels from 0 to 1")


@dataclass(frozen=True)
class PartitionReport:
    """What was changed to make a partition of masks.

    Attributes:
        masks: Masks given.
        empty: Indices of those without a pixel.
        hidden: Indices of those that lie under others altogether, or whose last parts were given away.
        overlapping_pixels: Pixels that more than one mask claims.
        gap_pixels: Pixels that no mask claims.
        filled_pixels: Pixels given to a neighbour: small gaps and small parts.
        gap_segments: Segments that are gaps.
        split_parts: Segments beyond one for each visible mask.
    """

    masks: int
    empty: tuple[int, ...]
    hidden: tuple[int, ...]
    overlapping_pixels: int
    gap_pixels: int
    filled_pixels: int
    gap_segments: int
    split_parts: int


class MaskPartition(NamedTuple):
    """A partition made of masks.

    Attributes:
        labels: Segment of each pixel, ``(H, W)`` int32, 4-connected, every value of ``[0, N)`` present, numbered in raster order.
        owners: Index of the mask that each segment is part of, ``(N,)`` int32, -1 for a gap.
        report: What was changed.
    """

    labels: np.ndarray
    owners: np.ndarray
    report: PartitionReport


def partition_masks(source: Any, rule: PartitionRule | None = None, size_hw: tuple[int, int] | None = None) -> MaskPartition:
    """Turn masks into a partition.

    Args:
        source: Masks in any form of ``mask_formats.read_masks``, or a ``MaskSet``.
        rule: How; the defaults of ``PartitionRule`` for None.
        size_hw: See ``read_masks``.

    Raises:
        ValueError: If the masks cannot be read, or the rule asks for scores that they do not have.

    Example:
        >>> wide, narrow = np.zeros((2, 3, 4), bool)
        >>> wide[:, :3], narrow[:, 1] = True, True
        >>> result = partition_masks(np.stack([wide, narrow]), PartitionRule(fill=0))
        >>> result.labels[0].tolist(), result.owners.tolist()
        ([0, 1, 2, 3], [0, 1, 0, -1])
    """
    rule = rule or PartitionRule()
    given = source if isinstance(source, MaskSet) else read_masks(source, size_hw)
    painted, claims = _paint(given, rule.on_top)
    parts, count = components(painted)
    owners = _values_of(parts, count, painted)
    areas = np.bincount(parts.ravel(), minlength=count) / painted.size
    kept = np.where(owners < 0, areas > rule.fill, areas >= rule.smallest_part)
    if not kept.any():
        kept[np.argmax(areas)] = True
    final = painted
    if not kept.all():
        final = np.where(kept[parts], painted, _OPEN)
        _fill_nearest(final)
    labels, number = components(final)
    final_owners = _values_of(labels, number, final)
    visible = np.unique(final_owners[final_owners >= 0])
    empty = [i for i, mask in enumerate(given.masks) if mask.area == 0]
    report = PartitionReport(
        masks=len(given.masks),
        empty=tuple(empty),
        hidden=tuple(sorted(set(range(len(given.masks))) - set(empty) - set(visible.tolist()))),
        overlapping_pixels=int(np.count_nonzero(claims > 1)),
        gap_pixels=int(np.count_nonzero(claims == 0)),
        filled_pixels=int(np.count_nonzero(~kept[parts])),
        gap_segments=int(np.count_nonzero(final_owners < 0)),
        split_parts=int(np.count_nonzero(final_owners >= 0)) - len(visible),
    )
    return MaskPartition(labels, final_owners, report)


def segmentation_from_masks(
    source: Any, strength: np.ndarray, max_segments: int | None = None, rule: PartitionRule | None = None
) -> Segmentation:
    """Turn masks into a segmentation with a merge tree.

    Args:
        source: Masks of an image of the size of ``strength``; see ``partition_masks``.
        strength: Boundary strength of each pixel, ``(H, W)`` float32 in [0, 1], for the order of merges: a boundary map, or
            ``colour_gradient`` of the image.
        max_segments: Budget, at least 1; None keeps all.
        rule: See ``partition_masks``.
    """
    made = partition_masks(source, rule, strength.shape[:2])
    return segmentation_from_partition(made.labels, len(made.owners), strength, max_segments)


def _paint(given: MaskSet, on_top: OnTop) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask that keeps each pixel, ``(H, W)`` int32, -1 for none, and how many claim it, ``(H, W)`` int32."""
    painted = np.full(given.size_hw, -1, np.int32)
    claims = np.zeros(given.size_hw, np.int32)
    for index in _bottom_up(given, on_top):
        mask = given.masks[index]
        painted[mask.window][mask.inside] = index
        claims[mask.window] += mask.inside
    return painted, claims


def _bottom_up(given: MaskSet, on_top: OnTop) -> np.ndarray:
    areas = np.array([mask.area for mask in given.masks])
    order = np.arange(len(areas))
    if on_top == "best":
        if given.scores is None:
            raise ValueError("on_top is 'best', but the masks have no scores: use 'smallest', 'largest', 'first' or 'last'")
        return np.argsort(given.scores, kind="stable")
    keys = {"smallest": -areas, "largest": areas, "first": -order, "last": order}
    return np.argsort(keys[on_top], kind="stable")


def _values_of(labels: np.ndarray, count: int, values: np.ndarray) -> np.ndarray:
    """Return the value under each label, ``(count,)`` int32, where all pixels of a label have the same."""
    found = np.empty(count, np.int32)
    found[labels.ravel()] = values.ravel()
    return found


@njit(cache=True, nogil=True)
def _fill_nearest(values):
    """Give each open pixel, in place, the value of the pixel that is reached first, step by step from all others at once."""
    height, width = values.shape
    queue = np.empty(values.size, np.int64)
    end = 0
    for y in range(height):
        for x in range(width):
            if values[y, x] != _OPEN:
                queue[end] = y * width + x
                end += 1
    at = 0
    while at < end:
        y, x = queue[at] // width, queue[at] % width
        at += 1
        for step in range(4):
            to_y = y + (step == 3) - (step == 0)
            to_x = x + (step == 2) - (step == 1)
            if 0 <= to_y < height and 0 <= to_x < width and values[to_y, to_x] == _OPEN:
                values[to_y, to_x] = values[y, x]
                queue[end] = to_y * width + to_x
                end += 1
