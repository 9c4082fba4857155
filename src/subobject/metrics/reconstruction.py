"""How much of an image its vectors keep: signal-to-noise ratios of colours, and overlap of masks."""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from subobject.embeddings.sequence import PackedSegments

BEST_PSNR = 60.0
"""Ratios are reported up to this value: 8-bit rounding alone gives 59 dB."""
_WINDOW = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_WINDOW /= _WINDOW.sum()


class SequenceCodec(Protocol):
    """Sequences to vectors and back, as ``embeddings.autoencoder.SeqAEEmbedder`` does."""

    def encode(self, packed: PackedSegments) -> np.ndarray:
        """Return one vector a segment, ``(N, D)``."""
        ...

    def decode(self, vectors: np.ndarray, sizes: np.ndarray) -> PackedSegments:
        """Return the sequences of vectors."""
        ...


def psnr(image: np.ndarray, reconstruction: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two ``(H, W, 3)`` uint8 images in dB, at most ``BEST_PSNR``."""
    difference = image.astype(np.float64) - reconstruction.astype(np.float64)
    return to_decibel(float(np.mean(difference**2)) / 255**2)


def ssim(image: np.ndarray, reconstruction: np.ndarray) -> float:
    """Return the structural similarity of two ``(H, W, 3)`` uint8 images, at most 1, the mean of their channels.

    Gaussian window of 11 x 11 pixels with a standard deviation of 1.5, constants 0.01 and 0.03, population variances, no padding
    (Wang et al., *Image quality assessment*, IEEE TIP 2004, section III.B); as scikit-image with ``gaussian_weights=True``.

    Raises:
        ValueError: If the sizes differ or a side is below 11 pixels.
    """
    if image.shape != reconstruction.shape or min(image.shape[:2]) < len(_WINDOW):
        raise ValueError(
            f"structural similarity of images {image.shape} and {reconstruction.shape}: "
            f"expected one size of at least {len(_WINDOW)} x {len(_WINDOW)} pixels"
        )
    x, y = image.astype(np.float64), reconstruction.astype(np.float64)
    mean_x, mean_y = _smooth(x), _smooth(y)
    variances = _smooth(x * x) - mean_x**2 + _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + first) * (2 * covariance + second)
    return float(np.mean(similarity / ((mean_x**2 + mean_y**2 + first) * (variances + second))))


def masked_psnr(colours: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio inside a mask in dB, at most ``BEST_PSNR``.

    Args:
        colours: RGB in [0, 1], ``(..., 3)``.
        reconstruction: The same shape.
        mask: Weight of each pixel in [0, 1], ``(...)``, not all zero.
    """
    return to_decibel(_masked_error(colours, reconstruction, mask))


def mask_iou(mask: np.ndarray, other: np.ndarray) -> float:
    """Return intersection over union of two boolean masks of one shape; 1 if both are empty."""
    union = np.count_nonzero(mask | other)
    return float(np.count_nonzero(mask & other) / union) if union else 1.0


def to_decibel(error: float) -> float:
    """Convert a mean squared error of values in [0, 1] to dB, at most ``BEST_PSNR``."""
    return BEST_PSNR if error <= 10 ** (-BEST_PSNR / 10) else float(-10 * np.log10(error))


def evaluate_crops(codec: SequenceCodec, items: Iterable[PackedSegments]) -> dict[str, float]:
    """Judge segments reconstructed from their vectors alone.

    Args:
        codec: What encodes and decodes.
        items: Packed segments, such as ``data.segment_crops.annotated_segments`` packs.

    Returns:
        ``segments``, their number. ``psnr``: of the squared error inside the mask, averaged over segments, in dB;
        ``psnr_per_segment``: mean of each segment's own ratio; ``mask_iou``: mean overlap of the masks at 0.5;
        ``mean_colour_psnr`` and ``mean_colour_psnr_per_segment``: the same if each segment were its mean colour.

    Raises:
        ValueError: If there is no segment.
    """
    errors, flat_errors, overlaps = [], [], []
    for packed in items:
        decoded = codec.decode(codec.encode(packed), packed.sizes)
        for i in range(len(packed)):
            colours, mask = packed[i][:, :3], packed[i][:, 3]
            mean = mask @ colours / mask.sum()
            errors.append(_masked_error(colours, decoded[i][:, :3], mask))
            flat_errors.append(_masked_error(colours, mean, mask))
            overlaps.append(mask_iou(mask >= 0.5, decoded[i][:, 3] >= 0.5))
    if not errors:
        raise ValueError("no segment to judge: give at least one")
    return {
        "segments": len(errors),
        "psnr": to_decibel(float(np.mean(errors))),
        "psnr_per_segment": float(np.mean([to_decibel(one) for one in errors])),
        "mask_iou": float(np.mean(overlaps)),
        "mean_colour_psnr": to_decibel(float(np.mean(flat_errors))),
        "mean_colour_psnr_per_segment": float(np.mean([to_decibel(one) for one in flat_errors])),
    }


def _smooth(values: np.ndarray) -> np.ndarray:
    """Convolve rows and columns of ``(H, W, C)`` with the window, where it fits."""
    margin = len(_WINDOW) - 1
    height, width = values.shape[0] - margin, values.shape[1] - margin
    rows = sum(weight * values[i : i + height] for i, weight in enumerate(_WINDOW))
    return sum(weight * rows[:, i : i + width] for i, weight in enumerate(_WINDOW))


def _masked_error(colours: np.ndarray, reconstruction: np.ndarray, mask: np.ndarray) -> float:
    squares = (colours.astype(np.float64) - reconstruction) ** 2
    return float((squares * mask[..., None]).sum() / (squares.shape[-1] * mask.astype(np.float64).sum()))
