"""The predictor around a boundary network: sizes, tiles and pyramids; numpy in, boundary maps out, and no torch.

Two networks stand behind it, told apart by ``model_type`` in ``config.json``: ``segformer``, any published DirectSAM checkpoint
(arXiv 2402.14327; a SegFormer with one label), and ``subobject_boundary_net``, the convolutional network that ships.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from subobject import weights
from subobject.boundaries import check_image, tiling
from subobject.images import normalise, resize
from subobject.registry import load_member, lookup
from subobject.runtime import Network, open_network
from subobject.structures import Boundaries

MODES = ("whole", "multiscale", "pyramid", "tiled")
_TORCH_CLASSES = {
    "segformer": "transformers:SegformerForSemanticSegmentation",
    "subobject_boundary_net": "subobject.boundaries.network:BoundaryNet",
}
# Inputs of one run on an accelerator; a CPU gains nothing from more than one.
_GROUP_PIXELS = 8_000_000
_PYRAMID_OVERLAP = 0.25
_SCALES = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Preprocessing:
    """How images are made ready for a network.

    Attributes:
        mean: Of each RGB channel, in [0, 1].
        std: Of each RGB channel.
        scale: Factor that takes a pixel to [0, 1].
        resolution: Largest long side of the network's input in pixels.
        least_resolution: Long side to which smaller images are enlarged, at most ``resolution``; between the two images are shown
            as they are, and larger ones are shrunk.
        stride: Heights and widths of inputs are padded to multiples of it.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    resolution: int
    least_resolution: int
    stride: int

    def input_size(self, size_hw: tuple[int, int], resolution: int | None) -> tuple[int, int]:
        """Return the size at which an image is shown to the network: its aspect ratio, and a long side of ``resolution``."""
        long = max(size_hw)
        target = resolution or min(max(long, self.least_resolution), self.resolution)
        height, width = (max(1, round(side * target / long)) for side in size_hw)
        return height, width


class DirectSAM:
    """Boundary maps of images by a network; ``from_pretrained`` makes one.

    Attributes:
        network: What runs, on which runtime and device.
        preprocessing: How images are made ready for it.
        folder: Where its files are.
    """

    def __init__(self, network: Network, preprocessing: Preprocessing, folder: Path):
        self.network = network
        self.preprocessing = preprocessing
        self.folder = folder

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path = "boundarynet",
        *,
        runtime: str = "auto",
        device: str = "auto",
        threads: int | None = None,
    ) -> "DirectSAM":
        """Open a boundary network.

        Args:
            name_or_folder: A release, a folder, or a hub id; see ``weights.resolve``. A folder holds ``config.json``,
                ``preprocessor_config.json`` and ``model.safetensors`` or ``model.onnx``.
            runtime: ``auto``, ``torch``, ``onnx`` or ``openvino``; see ``runtime.open_network``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: CPU threads; None leaves the choice to the runtime.

        Raises:
            WeightsError: If there are no such weights, or they are not those of a boundary network.
            ValueError: If the runtime or device is unknown or cannot run this network.
            ModuleNotFoundError: If the runtime is not installed.
        """
        folder = weights.resolve(name_or_folder, "boundaries")
        config = weights.read_json(folder / "config.json")
        model_type = config.get("model_type")
        if model_type not in _TORCH_CLASSES:
            raise weights.WeightsError(
                f"{folder / 'config.json'}: model_type is {model_type!r}, expected one of {', '.join(_TORCH_CLASSES)}"
            )
        onnx = folder / "model.onnx"
        network = open_network(
            onnx=onnx if onnx.is_file() else None,
            torch_factory=partial(_load_torch, model_type, folder) if any(folder.glob("*.safetensors")) else None,
            runtime=runtime,
            device=device,
            threads=threads,
        )
        return cls(network, _read_preprocessing(folder, config), folder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Copy configuration, safetensors, ONNX and model card to a folder, from which ``from_pretrained`` opens the same."""
        weights.copy_files(self.folder, Path(folder))

    def __call__(
        self, images: list[np.ndarray], *, mode: str = "whole", resolution: int | None = None, levels: int = 1
    ) -> list[Boundaries]:
        """Map images to boundary maps of their own sizes; what comes with an image in the list does not change its map.

        Args:
            images: RGB, each ``(H, W, 3)`` uint8 of its own size.
            mode: ``whole``: one pass over the image, scaled. ``multiscale``: the mean of passes at half, one and one and a half
                times that size, as edge detectors are often judged; 3.5 times the work. ``pyramid``: the mean of the whole pass
                and of ``levels`` finer ones; level ``l`` is made of ``2**l x 2**l`` tiles that overlap by a quarter of a tile,
                each scaled like a whole image, joined by weights that fade where a tile lacks context. ``tiled``: native
                resolution for images of any size in bounded memory, by tiles of a fixed size that overlap by a quarter.
            resolution: Long side in pixels of what the network sees in one pass: of the scaled image or tile (which is then
                enlarged too), in mode ``tiled`` of a tile. None takes the default of the network: the processor's size for
                SegFormer; for the shipped network at least 512 and at most 1024.
            levels: Of the pyramid beyond the whole image, at least 1.

        Raises:
            ValueError: If an image is not RGB uint8, or an option is out of range.
        """
        lookup(dict.fromkeys(MODES), mode, "mode")
        if resolution is not None and resolution < 4 * self.preprocessing.stride:
            raise ValueError(f"resolution is {resolution}: use at least {4 * self.preprocessing.stride} pixels for this network")
        if levels < 1:
            raise ValueError(f"levels is {levels}: use 1 or more")
        for image in images:
            check_image(image)
        if mode == "whole":
            return [Boundaries(probability) for probability in self._scaled(images, resolution)]
        if mode == "multiscale":
            return [Boundaries(_clip(self._multiscale(image, resolution))) for image in images]
        if mode == "pyramid":
            return [Boundaries(_clip(self._pyramid(image, resolution, levels))) for image in images]
        return [Boundaries(_clip(self._tiled(image, resolution or self.preprocessing.resolution))) for image in images]

    def _scaled(self, images: list[np.ndarray], resolution: int | None) -> list[np.ndarray]:
        """Run images at the network's resolution; probabilities come back at the images' own sizes."""
        sizes = [self.preprocessing.input_size(_size_hw(image), resolution) for image in images]
        results: dict[int, np.ndarray] = {}
        for group in self._groups(sizes):
            probabilities = self._run([resize(images[i], sizes[i]) for i in group])
            for i, probability in zip(group, probabilities, strict=True):
                results[i] = _clip(resize(probability, _size_hw(images[i])))
        return [results[i] for i in range(len(images))]

    def _groups(self, sizes: list[tuple[int, int]]) -> Iterator[list[int]]:
        """Yield the indices of inputs that run together: equal sizes on an accelerator, one by one on a CPU."""
        for size in dict.fromkeys(sizes):
            members = [i for i, other in enumerate(sizes) if other == size]
            count = 1 if self.network.device == "cpu" else max(1, _GROUP_PIXELS // (size[0] * size[1]))
            for first in range(0, len(members), count):
                yield members[first : first + count]

    def _multiscale(self, image: np.ndarray, resolution: int | None) -> np.ndarray:
        long = max(self.preprocessing.input_size(_size_hw(image), resolution))
        least = 4 * self.preprocessing.stride
        return tiling.merge_levels([self._scaled([image], max(least, round(scale * long)))[0] for scale in _SCALES])

    def _pyramid(self, image: np.ndarray, resolution: int | None, levels: int) -> np.ndarray:
        size = _size_hw(image)
        maps = self._scaled([image], resolution)
        for level in range(1, levels + 1):
            rows, columns = (tiling.split_spans(side, 2**level, _PYRAMID_OVERLAP) for side in size)
            maps.append(tiling.join_tiles(size, rows, columns, lambda y, x: self._scaled([image[y, x]], resolution)[0]))
        return tiling.merge_levels(maps)

    def _tiled(self, image: np.ndarray, tile: int) -> np.ndarray:
        size, stride = _size_hw(image), self.preprocessing.stride
        tile -= tile % stride
        overlap = max(stride, tile // 4 - tile // 4 % stride)
        rows, columns = (tiling.cover_spans(side, tile, overlap, stride) for side in size)
        return tiling.join_tiles(size, rows, columns, lambda y, x: self._run([image[y, x]])[0])

    def _run(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Run images of one size ``(h, w)`` as they are; returns probabilities ``(h, w)`` float32.

        They are padded below and to the right to the stride by their own reflection, as training crops are: repeated edges make
        streaks that the network takes for edges (docs/log.md). Logits at a fraction of the resolution, as of
        SegFormer, are enlarged bilinearly before the sigmoid.
        """
        ready = self.preprocessing
        height, width = _size_hw(images[0])
        padding = ((0, -height % ready.stride), (0, -width % ready.stride), (0, 0))
        batch = [normalise(np.pad(one, padding, mode="reflect"), ready.mean, ready.std, scale=ready.scale) for one in images]
        (logits, *_) = self.network(pixel_values=np.concatenate(batch) if len(batch) > 1 else batch[0])
        if logits.shape[1] != 1:
            raise ValueError(f"{self.folder}: the network has {logits.shape[1]} labels, a boundary network has 1")
        full_hw = (height + padding[0][1], width + padding[1][1])
        return [_sigmoid(resize(one, full_hw)[:height, :width]) for one in logits[:, 0]]


def _size_hw(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * logits) + np.float32(0.5)


def _clip(probability: np.ndarray) -> np.ndarray:
    """Take off, in place, what sums of rounded weights leave beyond [0, 1]."""
    return np.clip(probability, 0, 1, out=probability)


def _load_torch(model_type: str, folder: Path) -> Any:
    return weights.load_torch(load_member(_TORCH_CLASSES[model_type]), folder)


def _read_preprocessing(folder: Path, config: dict[str, Any]) -> Preprocessing:
    """Read ``preprocessor_config.json``; without it, SegFormer has its processor's defaults and ours the values of its config."""
    path = folder / "preprocessor_config.json"
    processor = weights.read_json(path) if path.is_file() else {}
    reader: Callable[[dict[str, Any], dict[str, Any]], Preprocessing]
    reader = _segformer_preprocessing if config["model_type"] == "segformer" else _boundarynet_preprocessing
    return reader(config, processor)


def _segformer_preprocessing(config: dict[str, Any], processor: dict[str, Any]) -> Preprocessing:
    """The processor's size is a square to which it squeezes images; here it sets the long side, and the aspect ratio stays."""
    size = processor.get("size", 512)
    resolution = max(size.values()) if isinstance(size, dict) else size
    normalises = processor.get("do_normalize", True)
    return Preprocessing(
        mean=tuple(processor.get("image_mean", (0.485, 0.456, 0.406))) if normalises else (0.0, 0.0, 0.0),
        std=tuple(processor.get("image_std", (0.229, 0.224, 0.225))) if normalises else (1.0, 1.0, 1.0),
        scale=processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0,
        resolution=resolution,
        least_resolution=resolution,
        stride=32,
    )


def _boundarynet_preprocessing(config: dict[str, Any], processor: dict[str, Any]) -> Preprocessing:
    resolution = config.get("resolution")
    return Preprocessing(
        mean=tuple(processor.get("image_mean", config["image_mean"])),
        std=tuple(processor.get("image_std", config["image_std"])),
        scale=processor.get("rescale_factor", 1 / 255),
        resolution=resolution or 1024,
        least_resolution=resolution or config.get("least_resolution", 1),
        stride=config["stride"],
    )
