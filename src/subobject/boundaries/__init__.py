"""Image -> boundary map. The members by name, and the protocol they follow."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from subobject.registry import open_member
from subobject.structures import Boundaries

# Name -> ``module:class``; imported when asked for.
BOUNDARY_MODELS = {
    "directsam": "subobject.boundaries.directsam:DirectSAM",
    "gradient": "subobject.boundaries.gradient:Gradient",
}


class BoundaryModel(Protocol):
    """What turns images into boundary maps."""

    def __call__(self, images: list[np.ndarray], **options: Any) -> list[Boundaries]:
        """Map RGB images, each ``(H, W, 3)`` uint8 of its own size, to boundary maps of the same sizes."""


def load(
    name: str,
    *,
    weights: str | Path | None = None,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> BoundaryModel:
    """Load a boundary model.

    Args:
        name: A key of ``BOUNDARY_MODELS``.
        weights: Release, folder or hub id of its network; ``None`` means the one that ships.
        runtime: What runs the network: ``auto``, ``torch``, ``onnx`` or ``openvino``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads; None leaves the choice to the runtime.

    Raises:
        ValueError: If the name is unknown, or weights are given to a model that has none.
    """
    return open_member(BOUNDARY_MODELS, name, "boundary model", weights, runtime=runtime, device=device, threads=threads)


def check_image(image: np.ndarray) -> None:
    """Refuse what is not an RGB image.

    Raises:
        ValueError: Unless the image is ``(H, W, 3)`` uint8 with at least one pixel.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        got = f"{image.shape} {image.dtype.name}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image: expected shape (H, W, 3) uint8 with pixels, got {got}: read it with read_image")
