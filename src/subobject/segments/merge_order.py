"""What decides which two regions merge next: the table ``MERGE_ORDERS``."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MergeOrder:
    """The key of a border, by which ``build_tree`` merges: the smallest first.

    ``(floor + (1 - floor) * p) * min(1, (smaller area / (reference_fraction * image area)) ** exponent)``

    where ``p`` tells how likely both regions are different. A sliver merges early even across a strong border, and where the
    boundary map is silent regions grow evenly.

    Attributes:
        weights: Of a logistic model of ``p``: its constant, then one for each of ``agglomeration.evidence``. None takes the mean
            boundary strength for ``p``.
        reference_fraction: Share of the image from which on a region is no longer small, above 0.
        exponent: How steeply keys fall with the size below that share; 0 leaves size out.
        floor: Smallest ``p``, in [0, 1].
        early: Order of the first merges, those that leave few enough regions for the walks of ``walks``, which then count as
            evidence; None has one order throughout and goes without walks.

    Raises:
        ValueError: If an attribute is out of range.
    """

    weights: tuple[float, float, float, float, float, float, float] | None
    reference_fraction: float
    exponent: float
    floor: float
    early: "MergeOrder | None" = None

    def __post_init__(self) -> None:
        if self.reference_fraction <= 0 or self.exponent < 0 or not 0 <= self.floor <= 1:
            raise ValueError(f"expected reference_fraction > 0, exponent >= 0 and floor in [0, 1], got {self}")


_EARLY = MergeOrder((-2.94, 8.22, -3.59, 2.16, 0.12, 0.2, 0.0), reference_fraction=0.03, exponent=1.0, floor=0.0)

MERGE_ORDERS: dict[str, MergeOrder] = {
    "learned": MergeOrder(
        (-3.82, 7.25, -3.78, 2.24, 0.04, 0.16, 3.29), reference_fraction=0.03, exponent=1.0, floor=0.0, early=_EARLY
    ),
    "strength": MergeOrder(None, reference_fraction=0.03, exponent=0.75, floor=0.01),
}
"""``learned``: merging two regions that people tell apart puts the smaller one wrong, which is half of what the undersegmentation
error of Neubert and Protzel grows by and what the achievable segmentation accuracy falls by. So the order is that of the expected
loss, ``p`` times the smaller area, with weights that ``recipes/merge_order.py`` fits to people's segmentations of photographs,
and the last merges take walks into account.
``strength``: the boundary strength alone."""
