"""The embedder around a SeqAE network: packs, buckets and runs segments of any number of images; no torch needed."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from subobject import weights
from subobject.embeddings.sequence import LAYOUT_VERSION, PackedSegments, buckets, concatenate, crop_sizes, pack, pad, paint
from subobject.runtime import Network, open_network
from subobject.structures import Segmentation

if TYPE_CHECKING:
    from torch import nn

MODEL_TYPE = "subobject_seqae"


class SeqAEEmbedder:
    """Vectors of segments by a SeqAE network; ``from_pretrained`` makes one.

    Attributes:
        name: ``seqae``.
        dim: Size of a vector, ``D``.
        context: Largest length of a sequence.
        folder: Where the network's files are.
    """

    name = "seqae"

    def __init__(self, encoder: Network, decoder: Network, dim: int, context: int, folder: Path):
        self.encoder = encoder
        self.decoder = decoder
        self.dim = dim
        self.context = context
        self.folder = folder

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path = "seqae", *, runtime: str = "auto", device: str = "auto", threads: int | None = None
    ) -> "SeqAEEmbedder":
        """Open a SeqAE network.

        Args:
            name_or_folder: A release, a folder, or a hub id; see ``weights.resolve``. A folder holds ``config.json`` and
                ``model.safetensors`` or ``encoder.onnx`` and ``decoder.onnx``.
            runtime: ``auto``, ``torch``, ``onnx`` or ``openvino``; see ``runtime.open_network``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: CPU threads; None leaves the choice to the runtime.

        Raises:
            WeightsError: If there are no such weights, or they are not those of a SeqAE network of this layout.
            ValueError: If the runtime or device is unknown or cannot run this network.
            ModuleNotFoundError: If the runtime is not installed.
        """
        folder = weights.resolve(name_or_folder, "embedder")
        config = _read_config(folder / "config.json")
        has_torch = any(folder.glob("*.safetensors"))
        networks = []
        for part in ("encoder", "decoder"):
            onnx = folder / f"{part}.onnx"
            networks.append(
                open_network(
                    onnx=onnx if onnx.is_file() else None,
                    torch_factory=partial(_load_torch, folder, part) if has_torch else None,
                    runtime=runtime,
                    device=device,
                    threads=threads,
                )
            )
        return cls(networks[0], networks[1], config["vector"], config["context"], folder)

    def embed(self, image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
        """Return one vector a segment of an RGB image ``(H, W, 3)`` uint8, ``(N, D)`` float32."""
        return self.encode(pack(image, segmentation, self.context))

    def embed_batch(self, images: list[np.ndarray], segmentations: list[Segmentation]) -> list[np.ndarray]:
        """Embed several images of any sizes; segments of all images share the buckets."""
        if not images:
            return []
        packed = [pack(image, one, self.context) for image, one in zip(images, segmentations, strict=True)]
        bounds = np.cumsum([len(one) for one in packed])
        return np.split(self.encode(concatenate(packed)), bounds[:-1])

    def reconstruct(self, vectors: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """Paint an image from vectors; arguments and result as in ``embeddings.Embedder``."""
        return paint(self.decode(vectors, crop_sizes(boxes, self.context)), boxes, size_hw)

    def encode(self, packed: PackedSegments) -> np.ndarray:
        """Encode sequences of any lengths, padded within buckets of similar length only; returns ``(N, D)`` float32."""
        vectors = np.empty((len(packed), self.dim), dtype=np.float32)
        for group in buckets(packed.sizes):
            pixels, sizes = pad(packed, group)
            vectors[group] = self.encoder(pixels=pixels, sizes=sizes)[0]
        return vectors

    def decode(self, vectors: np.ndarray, sizes: np.ndarray) -> PackedSegments:
        """Decode vectors to sequences.

        Args:
            vectors: ``(N, D)`` float32.
            sizes: Crop sizes ``(h, w)``, ``(N, 2)`` int32, each at most ``context`` cells.

        Returns:
            RGB in [0, 1], also outside the mask, and mask probabilities.
        """
        offsets = np.concatenate([[0], np.cumsum(sizes.astype(np.int64).prod(axis=1))])
        decoded = PackedSegments(np.empty((offsets[-1], 4), dtype=np.float32), sizes, offsets)
        for group in buckets(sizes):
            lengths = sizes[group].astype(np.int64).prod(axis=1)
            index = np.arange(lengths.max(), dtype=np.int64)
            (pixels,) = self.decoder(vectors=vectors[group], sizes=sizes[group].astype(np.int64), index=index)
            for member, sequence, length in zip(group, pixels, lengths, strict=True):
                decoded[member][:] = sequence[:length]
        return decoded


def _load_torch(folder: Path, part: str) -> "nn.Module":
    from subobject.embeddings.export import Decoder, Encoder
    from subobject.embeddings.seqae import SeqAE

    return {"encoder": Encoder, "decoder": Decoder}[part](weights.load_torch(SeqAE, folder))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise weights.WeightsError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict) or config.get("model_type") != MODEL_TYPE:
        raise weights.WeightsError(f"{path} does not describe a SeqAE network: expected model_type {MODEL_TYPE!r}")
    if config.get("layout_version") != LAYOUT_VERSION:
        raise weights.WeightsError(
            f"{path} has layout_version {config.get('layout_version')}, but this version of subobject reads {LAYOUT_VERSION}"
        )
    return config
