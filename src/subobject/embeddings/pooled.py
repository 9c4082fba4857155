"""Features of any image encoder, pooled over segments: DINOv2, CLIP, SigLIP, ConvNeXt, a VAE encoder and their like.

The photograph is resized so that the encoder's feature map covers it exactly, at about its aspect ratio: no crop and no padding,
so cells and pixels stay aligned (see ``pooling``). Box and shape of the segment are joined to its features, as the network that
reads the tokens sees neither otherwise.
"""

import json
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from subobject import weights
from subobject.embeddings.pooling import POOLS, Pool, cell_weights, pool
from subobject.embeddings.shape import pack_coarsely, shape_codes
from subobject.files import atomic_path
from subobject.geometry import to_token_boxes
from subobject.images import normalise, resize
from subobject.registry import lookup
from subobject.runtime import Network, open_network
from subobject.structures import Segmentation

if TYPE_CHECKING:
    from subobject.embeddings.backbones import BackboneShape
    from subobject.embeddings.sequence import PackedSegments

MODEL_TYPE = "subobject_pooled"
_BACKBONE = "backbone"


@dataclass(frozen=True)
class PooledOptions:
    """What becomes of a feature map.

    Attributes:
        pool: ``mean``, ``max`` or ``gem`` (generalised mean) over each segment.
        power: Exponent of ``gem``.
        box: Whether the token box ``(x, y, w, h)`` in [0, 1] is joined.
        shape: Cells a side of the shape code that is joined, ``r``; 0 for none.
        resolution: Pixels of the longer side at which the encoder sees a photograph; None for what it was made for.

    Raises:
        ValueError: If a value is out of its range.
    """

    pool: Pool = "mean"
    power: float = 3.0
    box: bool = True
    shape: int = 8
    resolution: int | None = None

    def __post_init__(self) -> None:
        if self.pool not in POOLS:
            raise ValueError(f"unknown pooling {self.pool!r}: use {', '.join(POOLS)}")
        if self.power <= 0 or self.shape < 0 or (self.resolution is not None and self.resolution < 1):
            raise ValueError(
                f"power is {self.power}, shape {self.shape}, resolution {self.resolution}: "
                "use a positive power, a shape of 0 or more cells, a resolution of 1 or more pixels"
            )


class PooledEmbedder:
    """Pooled features of segments, then their box and shape; ``from_pretrained`` makes one. Vectors do not decode to pixels.

    Attributes:
        name: ``pooled``.
        dim: Size of a vector: channels of the feature map, 4 for the box, ``shape ** 2`` for the shape code.
        network: Normalised pixels ``(1, 3, H, W)`` to a feature map ``(1, C, h, w)``.
        backbone: How to feed it.
        options: What becomes of the feature map.
        encoder_folder: Where the encoder's files are.
        folder: What ``from_pretrained`` opened; None if options were given beside it, until ``save_pretrained`` writes them down.
    """

    name = "pooled"
    decodes = False

    def __init__(
        self,
        network: Network,
        backbone: "BackboneShape",
        options: PooledOptions,
        encoder_folder: Path,
        folder: Path | None = None,
    ):
        self.network = network
        self.backbone = backbone
        self.options = options
        self.encoder_folder = encoder_folder
        self.folder = folder
        self.dim = backbone.channels + 4 * options.box + options.shape**2

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path | None = None,
        *,
        runtime: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        **options: Any,
    ) -> "PooledEmbedder":
        """Open an image encoder.

        Args:
            name_or_folder: Folder or hub id of a model that ``transformers.AutoModel`` reads (``facebook/dinov2-small``,
                ``openai/clip-vit-base-patch32``, ``google/siglip-base-patch16-224``, ``facebook/convnext-tiny-224``) or of an
                ``AutoencoderKL`` of diffusers, with safetensors; or a folder that ``save_pretrained`` wrote.
            runtime: ``auto`` or ``torch``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: CPU threads; None leaves the choice to torch.
            **options: Fields of ``PooledOptions``; they replace those of a saved embedder.

        Raises:
            WeightsError: If there are no such weights, or they are not those of an image encoder.
            ValueError: If no weights are named, or an option is unknown or out of range.
            ModuleNotFoundError: If torch or transformers is not installed.
        """
        if name_or_folder is None:
            raise ValueError("pooled features need an image encoder: name its folder or hub id, such as facebook/dinov2-small")
        try:
            from subobject.embeddings.backbones import load_feature_map, read_shape
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f'pooled features need {error.name}: pip install "subobject[torch]"') from None
        saved_folder = Path(name_or_folder)
        values = dict(options)
        if (saved_folder / _BACKBONE).is_dir():
            values = weights.read_config(saved_folder, MODEL_TYPE, "pooled features") | options
            del values["model_type"]
            folder = weights.resolve(saved_folder / _BACKBONE, "embedder")
        else:
            folder = saved_folder = weights.resolve(name_or_folder, "embedder")
        for name in values:
            lookup({field.name: None for field in fields(PooledOptions)}, name, "option of pooled features")
        backbone = read_shape(folder)
        network = open_network(
            onnx=None, torch_factory=partial(load_feature_map, folder), runtime=runtime, device=device, threads=threads
        )
        return cls(network, backbone, PooledOptions(**values), folder, None if options else saved_folder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the options and a copy of the encoder; ``from_pretrained`` reads the folder."""
        folder = Path(folder)
        weights.copy_files(self.encoder_folder, folder / _BACKBONE)
        with atomic_path(folder / "config.json") as partial:
            partial.write_text(json.dumps({"model_type": MODEL_TYPE, **asdict(self.options)}, indent=2) + "\n")
        self.folder = folder

    def input_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width at which the encoder sees an image: multiples of its stride, aspect ratio kept nearly."""
        stride = self.backbone.stride
        scale = (self.options.resolution or self.backbone.resolution) / max(size_hw)
        height, width = (max(1, round(side * scale / stride)) * stride for side in size_hw)
        return height, width

    def features(self, image: np.ndarray) -> np.ndarray:
        """Return the feature map of an RGB image ``(H, W, 3)`` uint8, ``(C, h, w)`` float32; its cells cover the image."""
        pixels = normalise(resize(image, self.input_size(image.shape[:2])), self.backbone.mean, self.backbone.std)
        return self.network(pixels=pixels)[0][0]

    def embed(self, image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
        """Return one vector a segment of an RGB image ``(H, W, 3)`` uint8, ``(N, D)`` float32."""
        options = self.options
        features = self.features(image)
        cells = cell_weights(segmentation.labels, segmentation.boxes, features.shape[1:], bilinear=options.pool != "max")
        parts = [pool(features, cells, options.pool, options.power)]
        if options.box:
            parts.append(to_token_boxes(segmentation.boxes, segmentation.size_hw))
        if options.shape:
            parts.append(shape_codes(pack_coarsely(image, segmentation, options.shape), options.shape))
        return np.concatenate(parts, axis=1)

    def embed_batch(self, images: list[np.ndarray], segmentations: list[Segmentation]) -> list[np.ndarray]:
        """Embed several images of any sizes."""
        return [self.embed(image, one) for image, one in zip(images, segmentations, strict=True)]

    def decode_crops(self, vectors: np.ndarray, boxes: np.ndarray) -> "PackedSegments":
        """Refuse: features do not decode to pixels."""
        self._refuse()

    def reconstruct(self, vectors: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """Refuse: features do not decode to pixels."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ValueError("pooled features do not decode to pixels: use 'seqae', 'patch' or 'mean-colour', or join one of them")
