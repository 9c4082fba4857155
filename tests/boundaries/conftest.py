"""Tiny random checkpoints of both networks, and pictures to run them on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessorPil

from subobject.boundaries.export import export_onnx
from subobject.boundaries.network import BoundaryNet, BoundaryNetConfig


def scramble(model: nn.Module) -> nn.Module:
    """Give a fresh network parameters and statistics that make its output vary over the image."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1:
                value.copy_(torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5)
            elif "bias" in name:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    return model.eval()


@pytest.fixture(scope="session")
def boundarynet() -> BoundaryNet:
    return scramble(BoundaryNet(BoundaryNetConfig(channels=(4, 6, 8), blocks=(1, 1, 1), width=4)))


@pytest.fixture(scope="session")
def segformer() -> SegformerForSemanticSegmentation:
    config = SegformerConfig(num_labels=1, hidden_sizes=[8, 8, 16, 16], decoder_hidden_size=8, depths=[1, 1, 1, 1])
    return scramble(SegformerForSemanticSegmentation(config))


@pytest.fixture(scope="session")
def boundarynet_folder(boundarynet, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("boundarynet")
    boundarynet.save_pretrained(folder)
    export_onnx(boundarynet, folder)
    return folder


@pytest.fixture(scope="session")
def segformer_folder(segformer, tmp_path_factory) -> Path:
    """As published: safetensors, configuration and processor, no ONNX."""
    folder = tmp_path_factory.mktemp("segformer")
    segformer.save_pretrained(folder)
    SegformerImageProcessorPil(size={"height": 128, "width": 128}, do_reduce_labels=False).save_pretrained(folder)
    return folder


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Flat blobs with sharp borders and a little noise, ``(height, width, 3)`` uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 220, (-(-height // 12), -(-width // 12), 3))
    image = coarse.repeat(12, 0).repeat(12, 1)[:height, :width] + rng.integers(0, 35, (height, width, 3))
    return image.astype(np.uint8)
