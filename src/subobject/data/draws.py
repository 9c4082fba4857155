"""Data sets of random draws that any worker, and any later run, repeats."""

from abc import ABC, abstractmethod

import numpy as np


class Draws(ABC):
    """Map-style data set of random draws; item ``i`` is the same on every run with the same seed.

    Args:
        length: Number of items to offer.
        seed: Seed of all randomness.
    """

    def __init__(self, length: int, seed: int):
        self.length = length
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return an item; see ``draw``."""
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")
        return self.draw(index, np.random.default_rng((self.seed, index)))

    @abstractmethod
    def draw(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return item ``index``; all that is random comes from ``rng``."""
