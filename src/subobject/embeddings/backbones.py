"""Image encoders of other people as feature maps: what their configurations say, and one forward pass for all families."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from subobject import weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VAE_CLASS = "AutoencoderKL"
UNUSED = ("pooler", "head")
"""Parts behind the feature map; checkpoints may lack them."""


@dataclass(frozen=True)
class BackboneShape:
    """What must be known of an image encoder to feed it.

    Attributes:
        stride: Pixels a side of a cell of the feature map.
        channels: Values of a cell, ``C``.
        resolution: Pixels a side of the images it was made for.
        mean: Subtracted from RGB in [0, 1].
        std: By which RGB is then divided.
    """

    stride: int
    channels: int
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class FeatureMap(nn.Module):
    """An image encoder that returns its last feature map."""

    def __init__(self, model: Any, stride: int):
        super().__init__()
        self.model = model
        self.stride = stride
        known = inspect.signature(model.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in known else {}

    def forward(self, pixels: Tensor) -> Tensor:
        """Return ``(B, C, H / stride, W / stride)`` of normalised pixels ``(B, 3, H, W)``, both sides multiples of the stride.

        Raises:
            ValueError: If the encoder returns fewer tokens than there are cells.
        """
        if hasattr(self.model, "encode"):
            return self.model.encode(pixels).latent_dist.mean
        states = self.model(pixel_values=pixels, **self.options).last_hidden_state
        if states.ndim == 4:
            return states
        rows, columns = pixels.shape[2] // self.stride, pixels.shape[3] // self.stride
        # Class and register tokens stand before those of the patches.
        extra = states.shape[1] - rows * columns
        if extra < 0:
            raise ValueError(
                f"{type(self.model).__name__} returns {states.shape[1]} tokens where {rows} x {columns} were expected: "
                "its feature map cannot be read"
            )
        return states[:, extra:].transpose(1, 2).unflatten(2, (rows, columns))


def read_shape(folder: Path) -> BackboneShape:
    """Read stride, channels, resolution and normalisation of the image encoder in a folder.

    Mean and standard deviation come from ``preprocessor_config.json``; without one they are ImageNet's (0.5 for a VAE).

    Raises:
        WeightsError: If the configuration is not one of an image encoder.
    """
    processor = weights.read_json(folder / "preprocessor_config.json") if (folder / "preprocessor_config.json").is_file() else {}
    if is_vae(folder):
        config = weights.read_json(folder / "config.json")
        stride = 2 ** (len(config["block_out_channels"]) - 1)
        channels, resolution = config["latent_channels"], config.get("sample_size", 256)
        mean, std = (0.5,) * 3, (0.5,) * 3
    else:
        config = _vision_config(folder)
        stride, channels = _stride(config), getattr(config, "hidden_size", None) or _last(getattr(config, "hidden_sizes", None))
        resolution = getattr(config, "image_size", None) or 224
        mean, std = IMAGENET_MEAN, IMAGENET_STD
        if not channels or not stride:
            raise weights.WeightsError(f"{folder / 'config.json'} ({config.model_type}) does not describe an image encoder")
    return BackboneShape(
        stride=stride,
        channels=int(channels),
        resolution=int(resolution if isinstance(resolution, int) else max(resolution)),
        mean=tuple(processor.get("image_mean", mean)),
        std=tuple(processor.get("image_std", std)),
    )


def load_feature_map(folder: Path) -> FeatureMap:
    """Load the image encoder in a folder; of a model of images and text only the image side is kept.

    Raises:
        WeightsError: If its weights are incomplete or not safetensors.
        ModuleNotFoundError: If it is a VAE and diffusers is not installed.
    """
    if is_vae(folder):
        try:
            from diffusers import AutoencoderKL
        except ModuleNotFoundError:
            raise ModuleNotFoundError(f"{folder} is a VAE and needs diffusers: pip install diffusers") from None
        return FeatureMap(AutoencoderKL.from_pretrained(folder, use_safetensors=True).eval(), read_shape(folder).stride)
    model = weights.load_torch(AutoModel, folder, unused=UNUSED)
    return FeatureMap(getattr(model, "vision_model", model), read_shape(folder).stride)


def is_vae(folder: Path) -> bool:
    """Whether a folder holds a VAE as diffusers saves it."""
    return weights.read_json(folder / "config.json").get("_class_name") == VAE_CLASS


def _vision_config(folder: Path) -> Any:
    try:
        config = AutoConfig.from_pretrained(folder)
    except (ValueError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise weights.WeightsError(f"{folder / 'config.json'} is not one that transformers can read: {reason}") from None
    return getattr(config, "vision_config", config)


def _stride(config: Any) -> int | None:
    patch, depths = getattr(config, "patch_size", None), getattr(config, "depths", None)
    if depths:  # Stages halve the map; those without patches start at a quarter of the image.
        return (patch or 4) * 2 ** (len(depths) - 1)
    return patch if isinstance(patch, int) else None


def _last(values: Any) -> Any:
    return values[-1] if values else None
