"""Segments to vectors and back. The members by name, and the protocol they follow; importing this package loads no member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from subobject.embeddings.sequence import PackedSegments
    from subobject.structures import Segmentation

# Name -> ``module:class``; imported when asked for.
EMBEDDERS: dict[str, str] = {
    "seqae": "subobject.embeddings.autoencoder:SeqAEEmbedder",
    "patch": "subobject.embeddings.patch:PatchEmbedder",
    "mean-colour": "subobject.embeddings.mean_colour:MeanColour",
    "pooled": "subobject.embeddings.pooled:PooledEmbedder",
    "joined": "subobject.embeddings.joined:JoinedEmbedder",
}


class Embedder(Protocol):
    """What every member of the table does.

    Attributes:
        name: Name in the table.
        dim: Size of a vector, ``D``.
        decodes: Whether its vectors decode to pixels; the two methods that do so raise a ``ValueError`` where they do not.
    """

    name: str
    dim: int
    decodes: bool

    def embed(self, image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
        """Return one vector a segment of an RGB image ``(H, W, 3)`` uint8, ``(N, D)`` float32."""
        ...

    def embed_batch(self, images: list[np.ndarray], segmentations: list[Segmentation]) -> list[np.ndarray]:
        """Embed several images of any sizes; each result is that of ``embed`` up to rounding."""
        ...

    def decode_crops(self, vectors: np.ndarray, boxes: np.ndarray) -> PackedSegments:
        """Decode vectors to crops.

        Args:
            vectors: ``(N, D)`` float32.
            boxes: Half-open pixel boxes of the segments, ``(N, 4)`` integer.

        Returns:
            Colours and mask probabilities over each box, at a resolution of the embedder's choice.
        """
        ...

    def reconstruct(self, vectors: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """Paint an image from vectors.

        Args:
            vectors: ``(N, D)`` float32.
            boxes: Half-open pixel boxes of the segments, ``(N, 4)`` integer, inside the image.
            size_hw: Height and width of the image.

        Returns:
            RGB, ``(H, W, 3)`` uint8; every pixel inside some box is painted.
        """
        ...
