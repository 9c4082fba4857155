"""The simplest embedder, without weights: mean colour and coarse shape of each segment."""

import numpy as np

from subobject.embeddings.sequence import PackedSegments, paint
from subobject.embeddings.shape import pack_coarsely, shape_codes
from subobject.structures import Segmentation

SIDE = 8
"""Cells of the shape code along each side of the box."""


class MeanColour:
    """Mean RGB in [0, 1] (3 values), then the share of each of 8 x 8 cells of the box that the segment covers (64 values)."""

    name = "mean-colour"
    dim = 3 + SIDE * SIDE
    decodes = True

    def embed(self, image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
        """Return one vector a segment of an RGB image ``(H, W, 3)`` uint8, ``(N, 67)`` float32 in [0, 1]."""
        packed = pack_coarsely(image, segmentation, SIDE)
        vectors = np.empty((len(packed), self.dim), dtype=np.float32)
        for i in range(len(packed)):
            colour, mask = packed[i][:, :3], packed[i][:, 3]
            vectors[i, :3] = mask @ colour / mask.sum()
        vectors[:, 3:] = shape_codes(packed, SIDE)
        return np.clip(vectors, 0, 1)

    def embed_batch(self, images: list[np.ndarray], segmentations: list[Segmentation]) -> list[np.ndarray]:
        """Embed several images of any sizes."""
        return [self.embed(image, one) for image, one in zip(images, segmentations, strict=True)]

    def decode_crops(self, vectors: np.ndarray, boxes: np.ndarray) -> PackedSegments:
        """Spread each mean colour over 8 x 8 cells; arguments and result as in ``embeddings.Embedder``."""
        cells = SIDE * SIDE
        packed = PackedSegments.zeros(np.full((len(vectors), 2), SIDE, dtype=np.int32))
        pixels = packed.pixels.reshape(-1, cells, 4)
        pixels[..., :3] = vectors[:, None, :3]
        pixels[..., 3] = np.clip(vectors[:, 3:], 0, 1)
        return packed

    def reconstruct(self, vectors: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """Paint each mean colour in its shape; arguments and result as in ``embeddings.Embedder``."""
        return paint(self.decode_crops(vectors, boxes), boxes, size_hw)
