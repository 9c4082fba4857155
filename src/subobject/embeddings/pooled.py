"""The simplest embedder, without weights: mean colour and coarse shape of each segment."""

import numpy as np

from subobject.embeddings.sequence import PackedSegments, gather, paint
from subobject.structures import Segmentation

SIDE = 8
"""Cells of the shape code along each side of the box."""


class MeanColour:
    """Mean RGB in [0, 1] (3 values), then the share of each of 8 x 8 cells of the box that the segment covers (64 values)."""

    name = "mean-colour"
    dim = 3 + SIDE * SIDE

    def embed(self, image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
        """Return one vector a segment of an RGB image ``(H, W, 3)`` uint8, ``(N, 67)`` float32 in [0, 1]."""
        boxes = segmentation.boxes
        sides = np.stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], axis=1)
        packed = gather(image, segmentation.labels, boxes, np.minimum(sides, SIDE).astype(np.int32))
        vectors = np.empty((len(boxes), self.dim), dtype=np.float32)
        spread = [_spread(side) for side in range(SIDE + 1)]
        for i, (h, w) in enumerate(packed.sizes.tolist()):
            colour, mask = packed[i][:, :3], packed[i][:, 3]
            vectors[i, :3] = mask @ colour / mask.sum()
            vectors[i, 3:] = (spread[h] @ mask.reshape(h, w) @ spread[w].T).ravel()
        return np.clip(vectors, 0, 1)

    def embed_batch(self, images: list[np.ndarray], segmentations: list[Segmentation]) -> list[np.ndarray]:
        """Embed several images of any sizes."""
        return [self.embed(image, one) for image, one in zip(images, segmentations, strict=True)]

    def reconstruct(self, vectors: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """Paint each mean colour in its shape; arguments and result as in ``embeddings.Embedder``."""
        cells = SIDE * SIDE
        pixels = np.empty((len(vectors), cells, 4), dtype=np.float32)
        pixels[..., :3] = vectors[:, None, :3]
        pixels[..., 3] = np.clip(vectors[:, 3:], 0, 1)
        sizes = np.full((len(vectors), 2), SIDE, dtype=np.int32)
        offsets = np.arange(len(vectors) + 1, dtype=np.int64) * cells
        return paint(PackedSegments(pixels.reshape(-1, 4), sizes, offsets), boxes, size_hw)


def _spread(side: int) -> np.ndarray:
    """Return the matrix that averages ``side`` <= ``SIDE`` equal intervals over ``SIDE`` equal ones, ``(SIDE, side)`` float32."""
    edges = np.arange(SIDE + 1)[:, None] / SIDE * side
    start = np.arange(side)
    overlap = np.minimum(edges[1:], start + 1) - np.maximum(edges[:-1], start)
    return (np.maximum(overlap, 0) * SIDE / max(side, 1)).astype(np.float32)
