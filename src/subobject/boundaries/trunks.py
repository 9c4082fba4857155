"""Trunks of the boundary network: an image becomes one feature map a level, level ``i`` at ``1 / 2**i`` of its resolution.

``residual``: stages of residual 3 x 3 convolutions, trained from scratch. ``efficientnet-lite0``: one such stage at full
resolution beside EfficientNet-Lite0 (arXiv 1905.11946; the Lite variants have neither squeeze-and-excitation nor swish, and run
fast on CPUs), which can start from weights learned on ImageNet (``recipes/imagenet_trunk.py``).
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

# EfficientNet-Lite0: kernel, stride, expansion, output channels and repeats of its blocks; its batch normalisation.
_LITE0_STEM = 32
_LITE0_BLOCKS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_LITE0_EPSILON = 1e-3


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


class Trunk(nn.Module):
    """Maps pixels ``(B, 3, H, W)`` to one feature map a level; ``channels`` are those of the levels, from 1/1 downwards."""

    channels: tuple[int, ...]


class ResidualTrunk(Trunk):
    """One ``Stage`` a level.

    Args:
        channels: Of each level.
        blocks: Residual blocks of each level.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int]):
        super().__init__()
        self.channels = tuple(channels)
        widths = [3, *channels]
        self.stages = nn.ModuleList(
            Stage(widths[i], widths[i + 1], number, stride=1 if i == 0 else 2) for i, number in enumerate(blocks)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class SameConv(nn.Conv2d):
    """A convolution padded like TensorFlow's ``SAME``: at stride 2 an even input gets one pixel more below and to the right."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1):
        padding, self.odd = divmod(kernel - stride, 2)
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, self.odd, 0, self.odd)) if self.odd else x)

    def symmetric(self) -> nn.Conv2d:
        """Return an equal convolution with equal padding on all sides: zeros before the kernel make up for the odd pixel.

        onnxruntime runs it faster, since padding an image apart from the convolution leaves its memory layout.
        """
        size, padding = self.kernel_size[0] + self.odd, int(self.padding[0]) + self.odd
        stride = self.stride[0]
        twin = nn.Conv2d(self.in_channels, self.out_channels, size, stride, padding, groups=self.groups, bias=False)
        twin.weight = nn.Parameter(F.pad(self.weight.detach(), (self.odd, 0, self.odd, 0)))
        return twin


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where shapes allow (MobileNetV2, arXiv 1801.04381)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = in_channels * expansion
        expand = [SameConv(in_channels, inner, 1), nn.BatchNorm2d(inner, _LITE0_EPSILON), nn.ReLU6()]
        self.layers = nn.Sequential(
            *(expand if expansion > 1 else []),
            SameConv(inner, inner, kernel, stride, groups=inner),
            nn.BatchNorm2d(inner, _LITE0_EPSILON),
            nn.ReLU6(),
            SameConv(inner, out_channels, 1),
            nn.BatchNorm2d(out_channels, _LITE0_EPSILON),
        )
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class EfficientNetTrunk(Trunk):
    """One ``Stage`` at full resolution, then EfficientNet-Lite0 without its head at 1/2 to 1/32 of it.

    Args:
        channels: Of the full-resolution stage, one number.
        blocks: Its residual blocks, one number.

    Raises:
        ValueError: If more than one stage is described.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int]):
        super().__init__()
        if len(channels) != 1:
            raise ValueError(
                f"channels has {len(channels)} stages: the trunk efficientnet-lite0 takes that of full resolution only"
            )
        self.detail = Stage(3, channels[0], blocks[0], stride=1)
        self.stem = nn.Sequential(SameConv(3, _LITE0_STEM, 3, stride=2), nn.BatchNorm2d(_LITE0_STEM, _LITE0_EPSILON), nn.ReLU6())
        levels: list[list[nn.Module]] = [[]]
        widths = [channels[0]]
        width = _LITE0_STEM
        for kernel, stride, expansion, out_channels, repeats in _LITE0_BLOCKS:
            if stride == 2:
                levels.append([])
                widths.append(width)
            for repeat in range(repeats):
                levels[-1].append(InvertedResidual(width, out_channels, kernel, stride if repeat == 0 else 1, expansion))
                width = out_channels
        self.levels = nn.ModuleList(nn.Sequential(*level) for level in levels)
        self.channels = (*widths, width)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [self.detail(x)]
        x = self.stem(x)
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


TRUNKS: dict[str, Callable[[Sequence[int], Sequence[int]], Trunk]] = {
    "residual": ResidualTrunk,
    "efficientnet-lite0": EfficientNetTrunk,
}
