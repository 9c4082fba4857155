"""Several embedders as one: their vectors behind each other."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from subobject import weights
from subobject.embeddings import EMBEDDERS, Embedder
from subobject.embeddings.sequence import PackedSegments
from subobject.files import atomic_path
from subobject.registry import load_member, lookup
from subobject.structures import Segmentation

MODEL_TYPE = "subobject_joined"


class JoinedEmbedder:
    """The vectors of several embedders joined into one, in their order.

    Attributes:
        name: ``joined``.
        dim: Sum of the members' sizes.
        members: The embedders.
        decodes: Whether a member decodes to pixels; the first one that does is used.
        folder: Where its files are; None until ``save_pretrained`` writes them.

    Raises:
        ValueError: If there is no member.

    Example:
        >>> from subobject.embeddings.mean_colour import MeanColour
        >>> JoinedEmbedder([MeanColour(), MeanColour()]).dim
        134
    """

    name = "joined"

    def __init__(self, members: Sequence[Embedder], folder: Path | None = None):
        if not members:
            raise ValueError("no embedder to join: give at least one")
        self.members = tuple(members)
        self.folder = folder
        self.dim = sum(one.dim for one in members)
        self.decodes = any(one.decodes for one in members)

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path | None = None, *, runtime: str = "auto", device: str = "auto", threads: int | None = None
    ) -> "JoinedEmbedder":
        """Open a folder that ``save_pretrained`` wrote.

        Its ``config.json`` may be written by hand: ``{"model_type": "subobject_joined", "members": [{"embedder": "seqae",
        "weights": null}, {"embedder": "pooled", "weights": "facebook/dinov2-small"}]}``. Weights are releases, hub ids, folders
        or names of folders inside this one; null stands for those that ship.

        Raises:
            WeightsError: If the folder does not describe joined embedders, or a member's weights cannot be found.
            ValueError: If no folder is named, or a member is unknown.
            ModuleNotFoundError: If a member needs a package that is not installed.
        """
        if name_or_folder is None:
            raise ValueError("joined embedders need a folder whose config.json lists them: name it as the embedder's weights")
        folder = Path(name_or_folder)
        config = weights.read_config(folder, MODEL_TYPE, "joined embedders")
        members = []
        for entry in config["members"]:
            member = load_member(lookup(EMBEDDERS, entry["embedder"], "embedder"))
            if not hasattr(member, "from_pretrained"):
                members.append(member())
                continue
            source = entry.get("weights")
            located = [] if source is None else [folder / source if (folder / source).is_dir() else source]
            members.append(member.from_pretrained(*located, runtime=runtime, device=device, threads=threads))
        return cls(members, folder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and the weights of each member into a folder of its own; ``from_pretrained`` reads them."""
        folder = Path(folder)
        entries = []
        for i, member in enumerate(self.members):
            save = getattr(member, "save_pretrained", None)
            entries.append({"embedder": member.name, "weights": None if save is None else f"{i}-{member.name}"})
            if save is not None:
                save(folder / f"{i}-{member.name}")
        with atomic_path(folder / "config.json") as partial:
            partial.write_text(json.dumps({"model_type": MODEL_TYPE, "members": entries}, indent=2) + "\n")
        self.folder = folder

    def embed(self, image: np.ndarray, segmentation: Segmentation) -> np.ndarray:
        """Return one vector a segment of an RGB image ``(H, W, 3)`` uint8, ``(N, D)`` float32."""
        return np.concatenate([member.embed(image, segmentation) for member in self.members], axis=1)

    def embed_batch(self, images: list[np.ndarray], segmentations: list[Segmentation]) -> list[np.ndarray]:
        """Embed several images of any sizes."""
        parts = [member.embed_batch(images, segmentations) for member in self.members]
        return [np.concatenate(vectors, axis=1) for vectors in zip(*parts, strict=True)]

    def decode_crops(self, vectors: np.ndarray, boxes: np.ndarray) -> PackedSegments:
        """Decode by the first member that does; arguments and result as in ``embeddings.Embedder``."""
        member, columns = self._decoder()
        return member.decode_crops(vectors[:, columns], boxes)

    def reconstruct(self, vectors: np.ndarray, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """Paint by the first member that does; arguments and result as in ``embeddings.Embedder``."""
        member, columns = self._decoder()
        return member.reconstruct(vectors[:, columns], boxes, size_hw)

    def _decoder(self) -> tuple[Embedder, slice]:
        start = 0
        for member in self.members:
            if member.decodes:
                return member, slice(start, start + member.dim)
            start += member.dim
        raise ValueError("none of the joined embedders decodes to pixels: join 'seqae', 'patch' or 'mean-colour' too")
