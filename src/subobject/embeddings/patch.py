"""The patch baseline of the paper: square patches and a linear autoencoder of them (arXiv 2402.14327, section 4); numpy only.

A segment's patch is its box, whatever of it belongs to the segment, so this embedder is for segmenters that cut rectangles:
``tiles`` (p x p pixels) and ``patches`` (an n x n grid). A box of p x p pixels is taken as it is. Any other one, at the edges of
``tiles`` or in the cells of ``patches``, is resized to p x p before encoding and back after decoding (area average to shrink,
bilinear to enlarge; ``images.resize``).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from subobject import weights
from subobject.embeddings.sequence import PackedSegments, paint
from subobject.files import atomic_path
from subobject.images import resize
from subobject.structures import Segmentation

MODEL_TYPE = "subobject_patch"


class PatchEmbedder:
    """Vectors of patches by a linear autoencoder; ``from_pretrained`` opens a trained one.

    The vector of a patch ``x``, its RGB values in [0, 1] in row order, is ``weight @ (x - mean)``; ``weight.T @ vector + mean``
    decodes it. Vectors may be cut to their first values before decoding.

    Attributes:
        name: ``patch``.
        dim: Size of a vector, ``D``.
        patch: Pixels a side of a patch, ``p``.
        weight: ``(D, 3 p ** 2)`` float32.
        mean: ``(3 p ** 2,)`` float32.
        folder: Where its files are; None if it was made from arrays.

    Raises:
        ValueError: If the arrays are not those of square patches.
    """

    name = "patch"
    decodes = True

    def __init__(self, weight: np.ndarray, mean: np.ndarray, folder: Path | None = None):
        self.patch = round((mean.size / 3) ** 0.5)
        if weight.ndim != 2 or mean.shape != (3 * self.patch**2,) or weight.shape[1] != mean.size:
            raise ValueError(
                f"weight is {weight.shape} and mean {mean.shape}: expected (D, 3 p ** 2) and (3 p ** 2,) for p x p pixels"
            )
        self.weight = weight.astype(np.float32)
        self.mean = mean.astype(np.float32)
        self.dim = len(weight)
        self.folder = folder

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path = "patch", *, runtime: str = "auto", device: str = "auto", threads: int | None = None
    ) -> "PatchEmbedder":
        """Open a linear autoencoder.

        Args:
            name_or_folder: A release, a folder with ``config.json`` and ``model.safetensors``, or a hub id; see
                ``weights.resolve``.
            runtime: Not used, as ``device`` and ``threads``: one matrix product needs none of them.
            device: Not used.
            threads: Not used.

        Raises:
            WeightsError: If there are no such weights, or they are not those of a linear autoencoder of patches.
        """
        from safetensors.numpy import load_file

        folder = weights.resolve(name_or_folder, "embedder")
        config = weights.read_config(folder, MODEL_TYPE, "a linear autoencoder of patches")
        path = folder / "model.safetensors"
        if not path.is_file():
            raise weights.WeightsError(f"{folder} holds no model.safetensors: save the embedder with save_pretrained")
        tensors = load_file(path)
        expected = {"weight": (config["vector"], 3 * config["patch"] ** 2), "mean": (3 * config["patch"] ** 2,)}
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if found != expected:
            raise weights.WeightsError(f"{path} holds {found}, but its config.json asks for {expected}")
        return cls(tensors["weight"], tensors["mean"], folder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``; ``from_pretrained`` reads the folder."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        config: dict[str, Any] = {"model_type": MODEL_TYPE, "patch": self.patch, "vector": self.dim}
        with atomic_path(folder / "model.safetensors") as partial:
            save_file({"weight": self.weight, "mean": self.mean}, partial, {"format": "pt"})
        with atomic_path(folder / "config.json") as partial:
            partial.write_text(json.dumps(config, indent=2) + "\n")

    def embed(self, image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
        """Return one vector a segment of an RGB image ``(H, W, 3)`` uint8, ``(N, D)`` float32."""
        patches = np.empty((segmentation.num_segments, self.patch, self.patch, 3), dtype=np.float32)
        for patch, (x0, y0, x1, y1) in zip(patches, segmentation.boxes.tolist(), strict=True):
            patch[:] = resize(np.ascontiguousarray(image[y0:y1, x0:x1]), (self.patch, self.patch))
        return (patches.reshape(len(patches), -1) / np.float32(255) - self.mean) @ self.weight.T

    def embed_batch(self, images: list[np.ndarray], segmentations: list[Segmentation]) -> list[np.ndarray]:
        """Embed several images of any sizes."""
        return [self.embed(image, one) for image, one in zip(images, segmentations, strict=True)]

    def decode_crops(self, vectors: np.ndarray, boxes: np.ndarray) -> PackedSegments:
        """Decode vectors to crops of the sizes of their boxes; arguments and result as in ``embeddings.Embedder``."""
        patches = np.clip(vectors @ self.weight[: vectors.shape[1]] + self.mean, 0, 1).astype(np.float32)
        sizes = np.stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], axis=1).astype(np.int32)
        decoded = PackedSegments.zeros(sizes)
        for i, (patch, size) in enumerate(zip(patches.reshape(-1, self.patch, self.patch, 3), sizes.tolist(), strict=True)):
            decoded[i][:, :3] = resize(patch, tuple(size)).reshape(-1, 3)
        decoded.pixels[:, 3] = 1
        return decoded

    def reconstruct(self, vectors: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """Paint an image from vectors; arguments and result as in ``embeddings.Embedder``."""
        return paint(self.decode_crops(vectors, boxes), boxes, size_hw)
