"""The small convolutional boundary network that ships: features of a trunk, summed from coarse to fine, read out at every level.

The family of HED (arXiv 1504.06375) and PiDiNet (arXiv 2108.07009), with the top-down path of feature pyramids (arXiv
1612.03144). It stands behind the same interface as the published SegFormer (``directsam.py``); ``config.json`` tells them apart
by ``model_type``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel

from subobject.boundaries.trunks import TRUNKS
from subobject.registry import lookup


class BoundaryNetConfig(PretrainedConfig):
    """Shape of a ``BoundaryNet``.

    Args:
        trunk: A key of ``subobject.boundaries.trunks.TRUNKS``.
        channels: Channels of the trunk's stages; of ``residual`` one number a level, of ``efficientnet-lite0`` one number.
        blocks: Residual blocks of each of these stages.
        width: Channels of the features that are summed from coarse to fine.
        image_mean: Mean of each RGB channel, in [0, 1], subtracted from the pixels.
        image_std: Standard deviation of each RGB channel, by which the pixels are divided.
        resolution: Long side in pixels at which images are shown to the network, where callers ask for none; None shows them as
            they are, from ``least_resolution`` up to 1024.
        least_resolution: Long side in pixels to which smaller images are then enlarged.
        logit_temperature: Number above 0 by which the fused logits are divided outside of training. A network that has seen few
            images is too sure of the others (Guo et al., *On Calibration of Modern Neural Networks*, arXiv 1706.04599), and its
            map loses the weak boundaries, by which regions are told apart where there are no strong ones.
        stride: Heights and widths of inputs must be multiples of it; the predictor pads. Set by the model.
    """

    model_type = "subobject_boundary_net"

    def __init__(
        self,
        trunk: str = "residual",
        channels: tuple[int, ...] = (16, 32, 64, 96, 128),
        blocks: tuple[int, ...] = (1, 2, 2, 2, 2),
        width: int = 24,
        image_mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        image_std: tuple[float, ...] = (0.229, 0.224, 0.225),
        resolution: int | None = None,
        least_resolution: int = 1,
        logit_temperature: float = 1.0,
        stride: int = 1,
        **kwargs,
    ):
        if resolution is not None and resolution < 1:
            raise ValueError(f"resolution is {resolution}: use a long side in pixels, or None")
        if least_resolution < 1:
            raise ValueError(f"least_resolution is {least_resolution}: use a long side in pixels, 1 or more")
        if logit_temperature <= 0:
            raise ValueError(f"logit_temperature is {logit_temperature}: use a number above 0")
        if len(channels) != len(blocks):
            raise ValueError(f"channels has {len(channels)} stages but blocks has {len(blocks)}: give one number a stage to both")
        self.trunk = trunk
        self.channels = list(channels)
        self.blocks = list(blocks)
        self.width = width
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.resolution = resolution
        self.least_resolution = least_resolution
        self.logit_temperature = logit_temperature
        self.stride = stride
        super().__init__(**kwargs)


@dataclass
class BoundaryNetOutput:
    """``logits``: fused, ``(B, 1, H, W)`` float32. ``side_logits``: one map a level, each ``(B, 1, H, W)``."""

    logits: Tensor
    side_logits: tuple[Tensor, ...]


class BoundaryNet(PreTrainedModel):
    """Boundary logits of an image at its own resolution.

    Heights and widths must be multiples of ``config.stride``.
    """

    config_class = BoundaryNetConfig
    main_input_name = "pixel_values"

    def __init__(self, config: BoundaryNetConfig):
        super().__init__(config)
        trunk = lookup(TRUNKS, config.trunk, "trunk")(config.channels, config.blocks)
        self.trunk = trunk
        channels = trunk.channels
        config.stride = 2 ** (len(channels) - 1)
        width = config.width
        self.project = nn.ModuleList(nn.Conv2d(number, width, 1) for number in channels)
        self.refine = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()) for _ in channels
        )
        self.side = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in channels)
        self.fuse = nn.Conv2d(len(channels), 1, 1)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if not isinstance(module, nn.Conv2d):
            super()._init_weights(module)
            return
        if module is self.fuse:
            # The fused map starts as the mean of the side outputs.
            nn.init.constant_(module.weight, 1 / len(self.side))
        else:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, pixel_values: Tensor) -> BoundaryNetOutput:
        """Compute boundary logits.

        Args:
            pixel_values: Normalised RGB, ``(B, 3, H, W)`` float32.
        """
        features = self.trunk(pixel_values)
        sides = []
        merged = None
        for i in reversed(range(len(features))):
            lateral = self.project[i](features[i])
            if merged is not None:
                lateral = lateral + _enlarge(merged, 2)
            merged = self.refine[i](lateral)
            sides.append(_enlarge(self.side[i](merged), 2**i))
        logits = self.fuse(torch.cat(sides, dim=1))
        if not self.training:
            logits = logits / self.config.logit_temperature
        return BoundaryNetOutput(logits=logits, side_logits=tuple(sides))


def _enlarge(x: Tensor, factor: int) -> Tensor:
    # A constant factor instead of a size lets onnxruntime keep its own memory layout.
    return x if factor == 1 else F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
