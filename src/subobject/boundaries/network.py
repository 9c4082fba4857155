"""The small convolutional boundary network that ships: full-resolution side outputs, trained from scratch.

The family of HED (arXiv 1504.06375) and PiDiNet (arXiv 2108.07009): stages of residual convolutions, each half the resolution
of the one before, projected to a common width, summed from coarse to fine, and read out once a stage. It stands behind the same
interface as the published SegFormer (``directsam.py``); ``config.json`` tells them apart by ``model_type``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel


class BoundaryNetConfig(PretrainedConfig):
    """Shape of a ``BoundaryNet``.

    Args:
        channels: Channels of each stage; stage ``i`` works at ``1 / 2**i`` of the resolution.
        blocks: Residual blocks of each stage.
        width: Channels of the features that are summed from coarse to fine.
        image_mean: Mean of each RGB channel, in [0, 1], subtracted from the pixels.
        image_std: Standard deviation of each RGB channel, by which the pixels are divided.
    """

    model_type = "subobject_boundary_net"

    def __init__(
        self,
        channels: tuple[int, ...] = (16, 32, 64, 96, 128),
        blocks: tuple[int, ...] = (1, 2, 2, 2, 2),
        width: int = 24,
        image_mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        image_std: tuple[float, ...] = (0.229, 0.224, 0.225),
        **kwargs,
    ):
        if len(channels) != len(blocks):
            raise ValueError(f"channels has {len(channels)} stages but blocks has {len(blocks)}: give one number a stage to both")
        self.channels = list(channels)
        self.blocks = list(blocks)
        self.width = width
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        super().__init__(**kwargs)


@dataclass
class BoundaryNetOutput:
    """``logits``: fused, ``(B, 1, H, W)`` float32. ``side_logits``: one map a stage, each ``(B, 1, H, W)``."""

    logits: Tensor
    side_logits: tuple[Tensor, ...]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation, added to their input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(y)))


class Stage(nn.Module):
    """A 3 x 3 convolution that sets the resolution and the width, then residual blocks."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, stride: int):
        super().__init__()
        self.enter = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(ResidualBlock(out_channels) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.enter(x))


class BoundaryNet(PreTrainedModel):
    """Boundary logits of an image at its own resolution.

    Heights and widths must be multiples of ``2 ** (stages - 1)``; the predictor pads.
    """

    config_class = BoundaryNetConfig
    main_input_name = "pixel_values"

    def __init__(self, config: BoundaryNetConfig):
        super().__init__(config)
        widths = [3, *config.channels]
        self.stages = nn.ModuleList(
            Stage(widths[i], widths[i + 1], blocks, stride=1 if i == 0 else 2) for i, blocks in enumerate(config.blocks)
        )
        self.project = nn.ModuleList(nn.Conv2d(channels, config.width, 1) for channels in config.channels)
        self.refine = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(config.width, config.width, 3, padding=1, bias=False), nn.BatchNorm2d(config.width), nn.ReLU()
            )
            for _ in config.channels
        )
        self.side = nn.ModuleList(nn.Conv2d(config.width, 1, 1) for _ in config.channels)
        self.fuse = nn.Conv2d(len(config.channels), 1, 1)
        self.post_init()
        # The fused map starts as the mean of the side outputs.
        nn.init.constant_(self.fuse.weight, 1 / len(config.channels))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            for parameter, value in ((module.weight, 1.0), (module.bias, 0.0)):
                if parameter is not None:
                    nn.init.constant_(parameter, value)

    def forward(self, pixel_values: Tensor) -> BoundaryNetOutput:
        """Compute boundary logits.

        Args:
            pixel_values: Normalised RGB, ``(B, 3, H, W)`` float32.
        """
        size = pixel_values.shape[-2:]
        features = []
        x = pixel_values
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        sides = []
        merged = None
        for i in reversed(range(len(features))):
            lateral = self.project[i](features[i])
            if merged is not None:
                lateral = lateral + _resize(merged, lateral.shape[-2:])
            merged = self.refine[i](lateral)
            sides.append(_resize(self.side[i](merged), size))
        return BoundaryNetOutput(logits=self.fuse(torch.cat(sides, dim=1)), side_logits=tuple(sides))


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
