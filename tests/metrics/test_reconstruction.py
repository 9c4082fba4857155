"""Figures of reconstruction on cases whose answer is known."""

import numpy as np
import pytest

from subobject.embeddings.sequence import PackedSegments
from subobject.images import read_image
from subobject.metrics.reconstruction import evaluate_crops, mask_iou, masked_psnr, psnr, ssim


class Through:
    """A codec that loses nothing but what ``change`` does to the pixels."""

    def __init__(self, change=lambda pixels: pixels):
        self.change = change

    def encode(self, packed):
        self.packed = packed
        return np.zeros((len(packed), 1), np.float32)

    def decode(self, vectors, sizes):
        return PackedSegments(self.change(self.packed.pixels), sizes, self.packed.offsets)


def test_psnr_of_known_errors():
    image = np.full((4, 5, 3), 100, np.uint8)
    assert psnr(image, image) == 60
    assert psnr(image, image + np.uint8(51)) == pytest.approx(-20 * np.log10(0.2))


def test_structural_similarity_equals_that_of_scikit_image(photos):
    metrics = pytest.importorskip("skimage.metrics")
    image = read_image(photos / "chelsea.png")[100:150, 120:183]
    other = np.clip(image * 0.8 + np.random.default_rng(0).normal(20, 12, image.shape), 0, 255).astype(np.uint8)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": 2}
    assert ssim(image, other) == pytest.approx(metrics.structural_similarity(image, other, **options), abs=1e-6)
    assert ssim(image, image) == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(image[:10], other[:10])


def test_only_the_mask_counts():
    colours = np.zeros((6, 3))
    other = colours.copy()
    other[0], other[5] = 0.1, 1
    mask = np.array([1, 1, 1, 1, 0, 0])
    assert masked_psnr(colours, other, mask) == pytest.approx(-10 * np.log10(0.01 / 4))


def test_mask_iou():
    a, b = np.array([True, True, False]), np.array([False, True, True])
    assert mask_iou(a, b) == pytest.approx(1 / 3)
    assert mask_iou(a & ~a, b & ~b) == 1


def test_evaluate_crops_compares_with_the_mean_colour():
    pixels = np.zeros((8, 4), np.float32)
    pixels[:4, :3] = np.array([0.2, 0.2, 0.4, 0.4])[:, None]
    pixels[4:, :3] = 0.5
    pixels[:, 3] = 1
    packed = PackedSegments(pixels, np.int32([[2, 2], [1, 4]]), np.int64([0, 4, 8]))
    figures = evaluate_crops(Through(), [packed])
    assert (figures["segments"], figures["psnr"], figures["mask_iou"]) == (2, 60, 1)
    assert figures["mean_colour_psnr"] == pytest.approx(-10 * np.log10(0.005), abs=1e-4)
    assert figures["mean_colour_psnr_per_segment"] == pytest.approx((20 + 60) / 2, abs=1e-4)
    halved = evaluate_crops(Through(lambda values: values * np.float32([1, 1, 1, 0])), [packed])
    assert halved["mask_iou"] == 0
    with pytest.raises(ValueError, match="no segment to judge"):
        evaluate_crops(Through(), [])
