"""Principal components of vectors: fewer numbers a token, at a measured loss."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

_TOKENS_A_COMPONENT = 10
"""A basis of K components is fitted to at least this many times K tokens."""


@dataclass(frozen=True, eq=False)
class Basis:
    """The first principal components of vectors (Pearson 1901; Bishop, *Pattern Recognition*, section 12.1).

    Attributes:
        mean: ``(D,)`` float32.
        components: Orthonormal columns, strongest first, ``(D, K)`` float32.
    """

    mean: np.ndarray
    components: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray, size: int) -> "Basis":
        """Fit ``size`` components to vectors ``(N, D)``.

        Raises:
            ValueError: If there are fewer dimensions than components, or too few vectors to tell them.
        """
        count, dim = vectors.shape
        if size > dim:
            raise ValueError(f"pca is {size}, but a vector has {dim} values: use at most {dim}")
        if count < _TOKENS_A_COMPONENT * size:
            raise ValueError(
                f"pca {size} needs {_TOKENS_A_COMPONENT * size} tokens to be fitted, but the first shard has {count}: "
                "give more images, a larger shard, or a smaller pca"
            )
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean
        _, directions = np.linalg.eigh(centred.T @ centred)
        return cls(mean.astype(np.float32), np.ascontiguousarray(directions[:, ::-1][:, :size], dtype=np.float32))

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return coordinates ``(N, K)`` float32 of vectors ``(N, D)``."""
        return (vectors - self.mean) @ self.components

    def restore(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the vectors ``(N, D)`` float32 that lie nearest, from coordinates ``(N, K)``."""
        return coordinates @ self.components.T + self.mean

    def save(self, path: Path) -> None:
        """Write ``mean`` and ``components`` as safetensors."""
        save_file({"mean": self.mean, "components": self.components}, path)

    @classmethod
    def load(cls, path: Path) -> "Basis":
        """Read what ``save`` wrote.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        try:
            arrays = load_file(path)
            return cls(arrays["mean"], arrays["components"])
        except (OSError, KeyError, SafetensorError) as error:
            raise ValueError(
                f"{path} is missing or damaged ({error}): without it the vectors of its store cannot be read"
            ) from None
