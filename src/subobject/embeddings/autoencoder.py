"""The embedder around a SeqAE network: packs, buckets and runs segments of any number of images; no torch needed."""

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from subobject import weights
from subobject.embeddings import ragged
from subobject.embeddings.sequence import (
    LAYOUT_VERSION,
    PackedSegments,
    buckets,
    concatenate,
    crop_sizes,
    pack,
    pad,
    padded_length,
    paint,
)
from subobject.runtime import Network, open_network
from subobject.structures import Segmentation

if TYPE_CHECKING:
    from torch import nn

    from subobject.embeddings.seqae import SeqAE

MODEL_TYPE = "subobject_seqae"
MAX_CELLS = 1 << 18
"""Pixels of sequences that wait for each other in ``embed_batch``; bounds memory."""
BUCKET_CELLS = {"cpu": 1 << 10}
"""Padded pixels that a network runs at once, by device: on a CPU as many as its caches hold."""
MANY_CELLS = 1 << 15
"""The same on other devices."""


class SeqAEEmbedder:
    """Vectors of segments by a SeqAE network; ``from_pretrained`` makes one.

    Attributes:
        name: ``seqae``.
        dim: Size of a vector, ``D``.
        context: Largest length of a sequence.
        folder: Where the network's files are.
        row_encoder: Encodes bin-packed rows instead of padded buckets; opened on CUDA, None elsewhere.
        queries: Positions that a segment takes in a row beside its pixels.
    """

    name = "seqae"
    decodes = True

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        dim: int,
        context: int,
        folder: Path,
        row_encoder: Network | None = None,
        queries: int = 0,
    ):
        self.encoder = encoder
        self.decoder = decoder
        self.dim = dim
        self.context = context
        self.folder = folder
        self.row_encoder = row_encoder
        self.queries = queries

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
        config = weights.read_config(folder, MODEL_TYPE, "a SeqAE network")
        if config.get("layout_version") != LAYOUT_VERSION:
            raise weights.WeightsError(
                f"{folder} has layout_version {config.get('layout_version')}, but this subobject reads {LAYOUT_VERSION}"
            )
        load = cache(partial(_load_torch, folder)) if any(folder.glob("*.safetensors")) else None

        def open_part(part: str) -> Network:
            onnx = folder / f"{part}.onnx"
            return open_network(
                onnx=onnx if onnx.is_file() else None,
                torch_factory=None if load is None else lambda: _part(load(), part),
                runtime=runtime,
                device=device,
                threads=threads,
            )

        encoder, decoder = open_part("encoder"), open_part("decoder")
        on_cuda = encoder.runtime == "torch" and encoder.device.startswith("cuda")
        rows = open_part("row_encoder") if on_cuda else None
        return cls(encoder, decoder, config["vector"], config["context"], folder, rows, config["queries"])

    def save_pretrained(self, folder: str | Path) -> None:
        """Copy configuration, safetensors, ONNX and model card to a folder, from which ``from_pretrained`` opens the same."""
        weights.copy_files(self.folder, Path(folder))

    def embed(self, image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
        """Return one vector a segment of an RGB image ``(H, W, 3)`` uint8, ``(N, D)`` float32."""
        return self.encode(pack(image, segmentation, self.context))

    def embed_batch(self, images: list[np.ndarray], segmentations: list[Segmentation]) -> list[np.ndarray]:
        """Embed several images of any sizes; segments of as many images as memory allows share the buckets."""
        vectors: list[np.ndarray] = []
        waiting: list[PackedSegments] = []
        for image, segmentation in zip(images, segmentations, strict=True):
            waiting.append(pack(image, segmentation, self.context))
            if sum(len(one.pixels) for one in waiting) >= MAX_CELLS:
                vectors += self._encode_together(waiting)
                waiting = []
        return vectors + self._encode_together(waiting)

    def reconstruct(self, vectors: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """Paint an image from vectors; arguments and result as in ``embeddings.Embedder``."""
        return paint(self.decode_crops(vectors, boxes), boxes, size_hw)

    def decode_crops(self, vectors: np.ndarray, boxes: np.ndarray) -> PackedSegments:
        """Decode vectors to crops of at most ``context`` cells; arguments and result as in ``embeddings.Embedder``."""
        return self.decode(vectors, crop_sizes(boxes, self.context))

    def encode(self, packed: PackedSegments) -> np.ndarray:
        """Encode sequences of any lengths, in buckets of similar length or bin-packed rows; returns ``(N, D)`` float32."""
        vectors = np.empty((len(packed), self.dim), dtype=np.float32)
        if self.row_encoder is not None:
            for row in ragged.rows(packed.sizes, self.queries, self.context):
                vectors[np.concatenate(row)] = self.row_encoder(**ragged.lay_out(packed, row, self.queries))[0]
            return vectors
        for group in buckets(packed.sizes, BUCKET_CELLS.get(self.encoder.device, MANY_CELLS)):
            pixels, sizes = pad(packed, group, self.context)
            vectors[group] = self.encoder(pixels=pixels, sizes=sizes)[0]
        return vectors

    def _encode_together(self, parts: list[PackedSegments]) -> list[np.ndarray]:
        if not parts:
            return []
        bounds = np.cumsum([len(one) for one in parts])
        return np.split(self.encode(concatenate(parts)), bounds[:-1])

    def decode(self, vectors: np.ndarray, sizes: np.ndarray) -> PackedSegments:
        """Decode vectors to sequences.

        Args:
            vectors: ``(N, D)`` float32, or their first values, which decode well if the network was trained with ``prefixes``.
            sizes: Crop sizes ``(h, w)``, ``(N, 2)`` int32, each at most ``context`` cells.

        Returns:
            RGB in [0, 1], also outside the mask, and mask probabilities.

        Raises:
            ValueError: If the vectors have more than ``D`` values.
        """
        if vectors.shape[1] > self.dim:
            raise ValueError(f"the vectors have {vectors.shape[1]} values, but this network makes {self.dim}")
        vectors = np.pad(vectors, ((0, 0), (0, self.dim - vectors.shape[1])))
        decoded = PackedSegments.zeros(sizes)
        for group in buckets(sizes, BUCKET_CELLS.get(self.decoder.device, MANY_CELLS)):
            lengths = sizes[group].astype(np.int64).prod(axis=1)
            index = np.arange(padded_length(lengths, self.context), dtype=np.int64)
            (pixels,) = self.decoder(vectors=vectors[group], sizes=sizes[group].astype(np.int64), index=index)
            for member, sequence, length in zip(group, pixels, lengths, strict=True):
                decoded[member][:] = sequence[:length]
        return decoded


def _load_torch(folder: Path) -> "SeqAE":
    from subobject.embeddings.seqae import SeqAE

    return weights.load_torch(SeqAE, folder)


def _part(model: "SeqAE", part: str) -> "nn.Module":
    from subobject.embeddings.export import Decoder, Encoder, RowEncoder

    return {"encoder": Encoder, "decoder": Decoder, "row_encoder": RowEncoder}[part](model)
