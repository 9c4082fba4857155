"""What travels between the stages: frozen, validated dataclasses whose fields state shape, dtype and range.

Symbols: ``B`` batch, ``H, W`` image, ``N`` segments, ``D`` vector size. Coordinates follow ``geometry``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from subobject import formats, geometry


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _check_array(name: str, value: np.ndarray, shape: tuple[int | None, ...], dtype: type) -> None:
    expected = "(" + ", ".join("*" if side is None else str(side) for side in shape) + ")"
    matches = value.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))
    _require(
        matches and value.dtype == dtype,
        f"{name}: expected shape {expected} {np.dtype(dtype).name}, got {value.shape} {value.dtype.name}",
    )


def _check_budget(max_segments: int | None, threshold: float | None) -> None:
    _require(
        (max_segments is None) != (threshold is None),
        "give either max_segments or threshold, not both and not neither",
    )
    if max_segments is not None:
        _require(max_segments >= 1, f"max_segments is {max_segments}: use 1 or more")
    if threshold is not None:
        _require(0 <= threshold <= 1, f"threshold is {threshold}: use a boundary strength from 0 to 1")


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Probability that a pixel lies on a boundary between two segments.

    Attributes:
        probability: ``(H, W)`` float32 in [0, 1].
    """

    probability: np.ndarray

    def __post_init__(self) -> None:
        _check_array("probability", self.probability, (None, None), np.float32)
        _require(self.probability.size > 0, "probability is empty: an image has at least one pixel")
        low, high = float(self.probability.min()), float(self.probability.max())
        _require(0 <= low <= high <= 1, f"probability: expected values in [0, 1], got [{low}, {high}]")

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.probability.shape
        return height, width


@dataclass(frozen=True, eq=False)
class MergeTree:
    """Binary tree over ``N`` segments; its cuts are nested segmentations.

    Nodes ``0 .. N - 1`` are the segments and node ``N + i`` is the ``i``-th merge, so that the strengths of the merges ascend
    and the root is the last node. Undoing the last ``K - 1`` merges leaves ``K`` segments; every cut, by number or by
    strength, undoes a suffix of the merges, hence each cut is nested in every finer one.

    Attributes:
        parents: Parent of each node, ``(2 N - 1,)`` int32; the root is its own parent.
        strengths: Boundary strength at which the node came about, ``(2 N - 1,)`` float32 in [0, 1]; 0 for segments,
            non-decreasing.
    """

    parents: np.ndarray
    strengths: np.ndarray

    def __post_init__(self) -> None:
        nodes = len(self.parents)
        _require(nodes % 2 == 1, f"parents: expected 2 N - 1 nodes, got {nodes}")
        _check_array("parents", self.parents, (nodes,), np.int32)
        _check_array("strengths", self.strengths, (nodes,), np.float32)
        leaves = (nodes + 1) // 2
        own = np.arange(nodes, dtype=np.int32)
        _require(
            bool(np.all(self.parents[:-1] > own[:-1])) and self.parents[-1] == nodes - 1,
            "parents: every node but the root must come before its parent, and the root must be its own parent",
        )
        children = np.bincount(self.parents[:-1], minlength=nodes)
        _require(
            bool(np.all(children[:leaves] == 0) and np.all(children[leaves:] == 2)),
            "parents: segments must have no child and merges exactly two",
        )
        _require(
            bool(np.all(self.strengths[:leaves] == 0) and np.all(np.diff(self.strengths) >= 0) and self.strengths[-1] <= 1),
            "strengths: expected 0 for segments, then non-decreasing values up to 1",
        )

    @property
    def num_segments(self) -> int:
        """Number of leaves, ``N``."""
        return (len(self.parents) + 1) // 2

    def count(self, *, max_segments: int | None = None, threshold: float | None = None) -> int:
        """Return the segments of a cut: ``min(max_segments, N)``, or those left when strengths below ``threshold`` merge."""
        _check_budget(max_segments, threshold)
        if max_segments is not None:
            return min(max_segments, self.num_segments)
        merged = np.searchsorted(self.strengths[self.num_segments :], np.float32(threshold), side="left")
        return self.num_segments - int(merged)

    def ancestors(self, count: int) -> np.ndarray:
        """Return the node that holds each segment when ``count`` segments are left, ``(N,)`` int32."""
        _require(1 <= count <= self.num_segments, f"count is {count}: use 1 to {self.num_segments}")
        alive = 2 * self.num_segments - count
        up = self.parents[:alive].copy()
        own = np.arange(alive, dtype=np.int32)
        tops = up >= alive
        up[tops] = own[tops]
        while True:
            further = up[up]
            if np.array_equal(further, up):
                return up[: self.num_segments]
            up = further

    def prune(self, count: int) -> tuple["MergeTree", np.ndarray]:
        """Cut the tree to ``count`` leaves.

        Returns:
            The tree over the coarser segments, and the coarser segment of each old one, ``(N,)`` int32. Coarser segments
            are numbered by their first member.
        """
        tops = self.ancestors(count)
        values, first = np.unique(tops, return_index=True)
        rank = np.empty(count, dtype=np.int32)
        rank[np.argsort(first, kind="stable")] = np.arange(count, dtype=np.int32)
        alive = 2 * self.num_segments - count
        renumber = np.full(len(self.parents), -1, dtype=np.int32)
        renumber[values] = rank
        renumber[alive:] = np.arange(count, 2 * count - 1, dtype=np.int32)
        kept = np.concatenate([values[np.argsort(rank, kind="stable")], np.arange(alive, len(self.parents))])
        strengths = np.concatenate([np.zeros(count, np.float32), self.strengths[alive:]])
        return MergeTree(renumber[self.parents[kept]], strengths), renumber[tops]

    def reorder(self, permutation: np.ndarray) -> "MergeTree":
        """Renumber the segments: new segment ``i`` is old segment ``permutation[i]``."""
        parents = np.concatenate([self.parents[permutation], self.parents[self.num_segments :]])
        return MergeTree(parents, self.strengths)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A partition of an image: every pixel in exactly one 4-connected segment.

    Attributes:
        labels: Segment of each pixel, ``(H, W)`` int32, every value of ``[0, N)`` present.
        boxes: Tight half-open boxes ``(x0, y0, x1, y1)`` in pixels, ``(N, 4)`` int32.
        areas: Number of pixels, ``(N,)`` int64.
        tree: Merge tree over the segments.

    Example:
        >>> labels = np.array([[0, 0, 1], [0, 0, 1]], dtype=np.int32)
        >>> tree = MergeTree(np.array([2, 2, 2], dtype=np.int32), np.array([0, 0, 0.5], dtype=np.float32))
        >>> segmentation = Segmentation.from_labels(labels, tree)
        >>> segmentation.num_segments, segmentation.areas.tolist(), segmentation.cut(max_segments=1).areas.tolist()
        (2, [4, 2], [6])
    """

    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    tree: MergeTree

    def __post_init__(self) -> None:
        _check_array("labels", self.labels, (None, None), np.int32)
        n = len(self.areas)
        _check_array("boxes", self.boxes, (n, 4), np.int32)
        _check_array("areas", self.areas, (n,), np.int64)
        _require(self.tree.num_segments == n, f"tree has {self.tree.num_segments} segments, but areas has {n}")
        _require(bool(np.all(self.areas > 0)), "areas: every segment needs at least one pixel; renumber the labels 0 .. N - 1")
        _require(
            int(self.areas.sum()) == self.labels.size,
            f"areas: expected a sum of {self.labels.size} pixels, got {self.areas.sum()}",
        )
        low, high = int(self.labels.min()), int(self.labels.max())
        _require(low == 0 and high == n - 1, f"labels: expected values 0 .. {n - 1}, got {low} .. {high}")
        height, width = self.labels.shape
        x0, y0, x1, y1 = self.boxes.T
        inside = (x0 >= 0) & (x0 < x1) & (x1 <= width) & (y0 >= 0) & (y0 < y1) & (y1 <= height)
        _require(bool(np.all(inside)), "boxes: expected 0 <= x0 < x1 <= W and 0 <= y0 < y1 <= H")

    @classmethod
    def from_labels(cls, labels: np.ndarray, tree: MergeTree) -> "Segmentation":
        """Measure boxes and areas of a label map, ``(H, W)`` int32, and build the segmentation."""
        _check_array("labels", labels, (None, None), np.int32)
        _require(labels.size > 0 and labels.min() >= 0, "labels: expected at least one pixel and no negative value")
        n = int(labels.max()) + 1
        return cls(labels, geometry.label_boxes(labels, n), geometry.label_areas(labels, n), tree)

    @property
    def num_segments(self) -> int:
        """Number of segments, ``N``."""
        return len(self.areas)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        height, width = self.labels.shape
        return height, width

    def cut(self, *, max_segments: int | None = None, threshold: float | None = None) -> "Segmentation":
        """Merge to a coarser segmentation, weakest boundaries first.

        Args:
            max_segments: Largest number of segments to keep, at least 1; exactly ``min(max_segments, N)`` remain.
            threshold: Boundary strength in [0, 1] below which segments merge.

        Raises:
            ValueError: Unless exactly one of the two is given, within its range.
        """
        count = self.tree.count(max_segments=max_segments, threshold=threshold)
        if count == self.num_segments:
            return self
        tree, assignment = self.tree.prune(count)
        areas = np.bincount(assignment, weights=self.areas, minlength=count).astype(np.int64)
        boxes = np.empty((count, 4), dtype=np.int32)
        boxes[:, :2] = np.iinfo(np.int32).max
        boxes[:, 2:] = 0
        np.minimum.at(boxes[:, :2], assignment, self.boxes[:, :2])
        np.maximum.at(boxes[:, 2:], assignment, self.boxes[:, 2:])
        return Segmentation(assignment[self.labels], boxes, areas, tree)

    def reorder(self, permutation: np.ndarray) -> "Segmentation":
        """Renumber the segments: new segment ``i`` is old segment ``permutation[i]``, ``(N,)`` integer."""
        _require(
            np.array_equal(np.sort(permutation), np.arange(self.num_segments)),
            f"permutation: expected every index of 0 .. {self.num_segments - 1} once",
        )
        inverse = np.empty(self.num_segments, dtype=np.int32)
        inverse[permutation] = np.arange(self.num_segments, dtype=np.int32)
        return Segmentation(
            inverse[self.labels], self.boxes[permutation], self.areas[permutation], self.tree.reorder(permutation)
        )

    def to_coco(self) -> list[dict[str, Any]]:
        """Return one COCO annotation a segment, with compressed run lengths as ``pycocotools`` reads them."""
        return formats.coco_annotations(self.labels, self.boxes, self.areas)

    def save(self, path: str | Path) -> None:
        """Write label map and tree to ``.png`` (16 bit), ``.json`` (COCO) or ``.npz``; the file appears complete or not at all.

        Raises:
            ValueError: If the suffix is unknown, or a PNG would need more than 65,536 labels.
        """
        arrays = formats.LabelArrays(self.labels, self.tree.parents, self.tree.strengths)
        formats.write(path, arrays, self.boxes, self.areas)

    @classmethod
    def load(cls, path: str | Path) -> "Segmentation":
        """Read a file that ``save`` wrote.

        Raises:
            ValueError: If the file is missing, damaged, or not written by ``save``.
        """
        arrays = formats.read(path)
        return cls.from_labels(arrays.labels, MergeTree(arrays.parents, arrays.strengths))


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of a batch of images, packed: all values along one axis, image ``b`` in rows ``offsets[b] : offsets[b + 1]``.

    Token ``i`` of an image is segment ``i`` of its segmentation.

    Attributes:
        vectors: One vector a token, ``(sum N_i, D)`` float32.
        boxes: Token boxes ``(x, y, w, h)`` in [0, 1], ``(sum N_i, 4)`` float32.
        areas: Pixels of each segment, ``(sum N_i,)`` int64.
        offsets: ``(B + 1,)`` int64, starting with 0.
        segmentations: One segmentation an image.
    """

    vectors: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    offsets: np.ndarray
    segmentations: tuple[Segmentation, ...] = field(repr=False)

    def __post_init__(self) -> None:
        total = len(self.areas)
        _check_array("vectors", self.vectors, (total, None), np.float32)
        _check_array("boxes", self.boxes, (total, 4), np.float32)
        _check_array("areas", self.areas, (total,), np.int64)
        _check_array("offsets", self.offsets, (len(self.segmentations) + 1,), np.int64)
        counts = [one.num_segments for one in self.segmentations]
        _require(
            self.offsets[0] == 0 and np.diff(self.offsets).tolist() == counts and self.offsets[-1] == total,
            f"offsets: expected 0 and the running sum of the segments {counts}, got {self.offsets.tolist()}",
        )
        _require(bool(np.all((self.boxes >= 0) & (self.boxes <= 1))), "boxes: expected values in [0, 1]")

    @classmethod
    def from_segmentations(cls, vectors: list[np.ndarray], segmentations: list[Segmentation]) -> "Tokens":
        """Pack one array of vectors ``(N_i, D)`` and one segmentation an image; the list must not be empty."""
        _require(len(segmentations) > 0, "no image: give at least one")
        counts = [one.num_segments for one in segmentations]
        return cls(
            vectors=np.concatenate(vectors).astype(np.float32, copy=False),
            boxes=np.concatenate([geometry.to_token_boxes(one.boxes, one.size_hw) for one in segmentations]),
            areas=np.concatenate([one.areas for one in segmentations]),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            segmentations=tuple(segmentations),
        )

    def __len__(self) -> int:
        """Return the number of images, ``B``."""
        return len(self.segmentations)

    def __getitem__(self, index: int) -> "Tokens":
        """Return the tokens of one image; negative indices count from the end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a batch of {len(self)}")
        index %= len(self)
        rows = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        offsets = np.array([0, rows.stop - rows.start], dtype=np.int64)
        return Tokens(self.vectors[rows], self.boxes[rows], self.areas[rows], offsets, (self.segmentations[index],))

    def __iter__(self) -> Iterator["Tokens"]:
        """Iterate over the images."""
        return (self[i] for i in range(len(self)))

    @property
    def num_tokens(self) -> int:
        """Number of tokens over all images."""
        return len(self.areas)

    @property
    def segmentation(self) -> Segmentation:
        """The segmentation of the only image.

        Raises:
            ValueError: If the batch does not hold exactly one image.
        """
        _require(len(self) == 1, f"the batch holds {len(self)} images: take one with tokens[i].segmentation")
        return self.segmentations[0]

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors as a rectangle.

        Returns:
            Vectors ``(B, N_max, D)`` float32, zero where there is no token, and the mask ``(B, N_max)`` bool, true where
            there is one.
        """
        counts = np.diff(self.offsets)
        mask = np.arange(counts.max())[None] < counts[:, None]
        vectors = np.zeros((*mask.shape, self.vectors.shape[1]), dtype=np.float32)
        vectors[mask] = self.vectors
        return vectors, mask
