"""Training batches for the patch autoencoder: square patches at random places of photographs, rescaled and flipped."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from subobject.data.draws import Draws
from subobject.images import resize


@dataclass(frozen=True)
class PatchOptions:
    """How batches of patches are drawn.

    Attributes:
        batch: Patches a batch.
        scale: Smallest and largest magnification, at most 1; drawn uniformly in its logarithm.
        flip: Probability of each of two flips: left-right, up-down.
        start: Batches from whose principal components training starts; 0 for a random start.

    Raises:
        ValueError: If the scale is no range within (0, 1].
    """

    batch: int = 512
    scale: tuple[float, float] = (0.5, 1.0)
    flip: float = 0.5
    start: int = 128

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale is {self.scale}: use magnifications 0 < low <= high <= 1")


class PatchCrops(Draws):
    """Batches of patches as a data set.

    Args:
        images: Photographs, each ``(H, W, 3)`` uint8.
        patch: Pixels a side, ``p``; smaller photographs are left out.
        length: Number of batches to offer.
        options: How batches are drawn.
        seed: Seed of all randomness.

    Raises:
        ValueError: If no photograph holds a patch.
    """

    def __init__(self, images: Sequence[np.ndarray], patch: int, length: int, options: PatchOptions, seed: int):
        self.images = [image for image in images if min(image.shape[:2]) >= patch]
        if not self.images:
            raise ValueError(f"none of {len(images)} photographs holds a patch of {patch} x {patch} pixels")
        super().__init__(length, seed)
        self.patch = patch
        self.options = options

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return ``patches``, RGB in [0, 1] in row order, ``(batch, 3 p ** 2)`` float32."""
        patches = np.stack([self._patch(rng) for _ in range(self.options.batch)])
        return {"patches": patches.reshape(len(patches), -1).astype(np.float32) / np.float32(255)}

    def _patch(self, rng: np.random.Generator) -> np.ndarray:
        image = self.images[rng.integers(len(self.images))]
        scale = np.exp(rng.uniform(*np.log(self.options.scale)))
        side = min(round(self.patch / scale), *image.shape[:2])
        y, x = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        patch = resize(np.ascontiguousarray(image[y : y + side, x : x + side]), (self.patch, self.patch))
        for axis in range(2):
            if rng.random() < self.options.flip:
                patch = np.flip(patch, axis)
        return patch
