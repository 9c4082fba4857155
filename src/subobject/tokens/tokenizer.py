"""``SubobjectTokenizer``: the class most users meet. It chains the stages and goes back again."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from subobject.embeddings import EMBEDDERS, Embedder
from subobject.files import atomic_path
from subobject.images import read_image
from subobject.registry import lookup, open_member
from subobject.segments.merge_order import MERGE_ORDERS
from subobject.segments.pipeline import DEFAULT, ImageSegmenter
from subobject.segments.watershed import COLOUR_WEIGHT
from subobject.structures import Segmentation, Tokens
from subobject.timing import Clock
from subobject.tokens.order import ORDERS, arrange
from subobject.weights import ASSETS, fingerprint, resolve

MODEL_TYPE = "subobject_tokenizer"
_WEIGHT_FOLDERS = {"boundary_weights": "boundaries", "embedder_weights": "embedder"}


@dataclass(frozen=True)
class TokenizerConfig:
    """What a tokenizer is made of; kept in ``config.json``.

    Attributes:
        segmenter: Name of a segmenter.
        boundary_weights: Release, folder or hub id of the boundary network; ``None`` means the one that ships.
        embedder: Name of an embedder.
        embedder_weights: Release, folder or hub id of the embedder; ``None`` means the one that ships.
        max_tokens: Default budget.
        threshold: Default boundary strength in [0, 1] below which regions merge; None for none.
        merge_order: What decides which regions merge next, one of ``MERGE_ORDERS``, for segmenters with a boundary map.
        colour_weight: Share of the colour gradient that is added to the boundary map, at least 0, for the same segmenters.
        order: Order of the tokens of an image.
        seed: Seed of the random order.
    """

    segmenter: str = DEFAULT
    boundary_weights: str | None = None
    embedder: str = "seqae"
    embedder_weights: str | None = None
    max_tokens: int = 128
    threshold: float | None = None
    merge_order: str = "learned"
    colour_weight: float = COLOUR_WEIGHT
    order: str = "raster"
    seed: int = 0

    def __post_init__(self) -> None:
        lookup(EMBEDDERS, self.embedder, "embedder")
        lookup(MERGE_ORDERS, self.merge_order, "merge order")
        lookup(ORDERS, self.order, "order")
        check_budget(self.max_tokens, self.threshold)

    @classmethod
    def from_json(cls, path: Path) -> "TokenizerConfig":
        """Read ``config.json`` of a saved tokenizer.

        Raises:
            ValueError: If the file is missing, is not a tokenizer's, or holds an unknown key.
        """
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError:
            raise ValueError(f"{path.parent} holds no config.json: give a folder written by save_pretrained") from None
        except ValueError as error:
            raise ValueError(f"{path} is not valid JSON ({error}): save the tokenizer again") from error
        if not isinstance(values, dict) or values.pop("model_type", None) != MODEL_TYPE:
            raise ValueError(f"{path} is not the config of a tokenizer: expected model_type {MODEL_TYPE!r}")
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"{path} has the unknown key {unknown[0]!r}: it was written by a newer version; upgrade subobject")
        return cls(**values)


class SubobjectTokenizer:
    """Turns images into subobject tokens, and tokens back into images.

    Example:
        >>> tokenizer = SubobjectTokenizer.from_pretrained()            # doctest: +SKIP
        >>> tokens = tokenizer(["a.jpg", array], max_tokens=64)         # doctest: +SKIP
        >>> tokens.vectors.shape, tokens.offsets                        # doctest: +SKIP
        ((128, 768), array([ 0,  64, 128]))
        >>> images = tokenizer.decode(tokens)                           # doctest: +SKIP
    """

    def __init__(self, config: TokenizerConfig, segmenter: ImageSegmenter, embedder: Embedder):
        self.config = config
        self.segmenter = segmenter
        self.embedder = embedder

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        runtime: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        **changes: Any,
    ) -> "SubobjectTokenizer":
        """Load a tokenizer.

        Args:
            name: Folder written by ``save_pretrained`` or hub id; ``None`` means the one that ships.
            runtime: What runs the networks: ``auto``, ``torch``, ``onnx`` or ``openvino``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: CPU threads of the networks; None leaves the choice to the runtime.
            **changes: Fields of ``TokenizerConfig`` to replace.

        Raises:
            ValueError: If something is unknown, missing or damaged; the message says what to do.
        """
        unknown = sorted(set(changes) - {field.name for field in fields(TokenizerConfig)})
        if unknown:
            known = ", ".join(field.name for field in fields(TokenizerConfig))
            raise ValueError(f"unknown option {unknown[0]!r} of a tokenizer: use {known}")
        if name is None:
            config = replace(TokenizerConfig(), **changes)
        else:
            folder = resolve(name, "tokenizer")
            config = _locate_weights(replace(TokenizerConfig.from_json(folder / "config.json"), **changes), folder)
        network: dict[str, Any] = {"runtime": runtime, "device": device, "threads": threads}
        segmenter = ImageSegmenter.load(
            config.segmenter,
            weights=config.boundary_weights,
            merge_order=config.merge_order,
            colour_weight=config.colour_weight,
            **network,
        )
        embedder = load_embedder(config.embedder, config.embedder_weights, **network)
        return cls(config, segmenter, embedder)

    def __call__(self, images: Any, *, max_tokens: int | None = None, threshold: float | None = None) -> Tokens:
        """Tokenize one image or a sequence of images of any sizes.

        Args:
            images: One image or a list: path, bytes, PIL image, numpy array ``(H, W, 3)`` uint8, torch tensor.
            max_tokens: Largest number of tokens an image; regions merge, so that the tokens still cover the image.
            threshold: Boundary strength in [0, 1] below which regions merge; with ``max_tokens`` both bounds hold. With neither,
                those of ``config`` hold.

        Returns:
            Packed tokens; token ``i`` of an image is segment ``i`` of its segmentation.

        Raises:
            ValueError: If an image cannot be read, or an option is out of range.
        """
        batch = list(images) if isinstance(images, Sequence) and not isinstance(images, str | bytes) else [images]
        pixels = [read_image(image) for image in batch]
        segmentations = [self.segment(one, max_tokens=max_tokens, threshold=threshold) for one in pixels]
        return self.embed(pixels, segmentations)

    def segment(
        self,
        pixels: np.ndarray,
        *,
        max_tokens: int | None = None,
        threshold: float | None = None,
        clock: Clock | None = None,
    ) -> Segmentation:
        """Cut the pixels ``(H, W, 3)`` uint8 of one image within the budget, and number the segments in the configured order."""
        check_budget(max_tokens, threshold)
        max_tokens, threshold = self._bounds(max_tokens, threshold)
        clock = clock or Clock()
        segmentation = self.segmenter.segment_pixels(pixels, max_segments=max_tokens, threshold=threshold, clock=clock)
        with clock.measure("segments"):
            return arrange(segmentation, self.config.order, self.config.seed)

    def embed(self, pixels: list[np.ndarray], segmentations: list[Segmentation]) -> Tokens:
        """Turn the segments of images into tokens: one vector a segment."""
        return Tokens.from_segmentations(self.embedder.embed_batch(pixels, segmentations), segmentations)

    def decode(self, tokens: Tokens) -> list[np.ndarray]:
        """Paint images from the vectors and boxes of their tokens alone.

        Returns:
            One ``(H, W, 3)`` uint8 RGB picture an image, at its original size.

        Raises:
            ValueError: If the vectors come from another embedder.
        """
        return decode_tokens(tokens, self.embedder)

    def settings(self, *, max_tokens: int | None = None, threshold: float | None = None) -> dict[str, Any]:
        """Return what decides the tokens of an image, as JSON values; ``TokenWriter`` keeps them in a store.

        Args:
            max_tokens: As in a call.
            threshold: As in a call.

        Returns:
            The fields of ``TokenizerConfig``, with the names of the weights that are used and the bounds that hold, and
            ``boundary_sha256`` and ``embedder_sha256``, see ``weights.fingerprint``; None without weights.
        """
        max_tokens, threshold = self._bounds(max_tokens, threshold)
        values = asdict(self.config) | {"max_tokens": max_tokens, "threshold": threshold}
        for field_name, folder in self._weight_folders().items():
            given = values[field_name]
            if folder is not None and (given is None or Path(given).is_dir()):
                values[field_name] = folder.name if folder.parent == ASSETS else str(folder.resolve())
            values[field_name.replace("_weights", "_sha256")] = None if folder is None else fingerprint(folder)
        return values

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and the weights; ``from_pretrained`` reads the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = self.config
        for field_name, weights in self._weight_folders().items():
            if weights is None:
                continue
            target = folder / _WEIGHT_FOLDERS[field_name]
            if weights.resolve() != target.resolve():
                shutil.copytree(weights, target, dirs_exist_ok=True)
            change: dict[str, Any] = {field_name: _WEIGHT_FOLDERS[field_name]}
            config = replace(config, **change)
        with atomic_path(folder / "config.json") as partial:
            partial.write_text(json.dumps({"model_type": MODEL_TYPE, **asdict(config)}, indent=2) + "\n")

    def _bounds(self, max_tokens: int | None, threshold: float | None) -> tuple[int | None, float | None]:
        """Return the bounds of a call: those given, or where none is given, those of the configuration."""
        if max_tokens is None and threshold is None:
            return self.config.max_tokens, self.config.threshold
        return max_tokens, threshold

    def _weight_folders(self) -> dict[str, Path | None]:
        """Return the folder of the weights behind each field of the config; None where there is no network."""
        owners = {"boundary_weights": self.segmenter.boundary_model or self.segmenter.method, "embedder_weights": self.embedder}
        folders = {field_name: getattr(owner, "folder", None) for field_name, owner in owners.items()}
        return {field_name: None if folder is None else Path(folder) for field_name, folder in folders.items()}

    def push_to_hub(self, repo_id: str, **options: Any) -> None:
        """Upload the tokenizer to the Hugging Face hub; ``options`` go to ``HfApi.create_repo`` (``private``, ``token``)."""
        try:
            from huggingface_hub import HfApi
        except ImportError:
            raise ValueError('push_to_hub needs huggingface_hub: pip install "subobject[torch]"') from None
        api = HfApi(token=options.pop("token", None))
        api.create_repo(repo_id, exist_ok=True, **options)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.upload_folder(repo_id=repo_id, folder_path=folder)


def check_budget(max_tokens: int | None, threshold: float | None) -> None:
    """Refuse a budget below 1 and a threshold outside [0, 1].

    Raises:
        ValueError: With one sentence that names the value.
    """
    if max_tokens is not None and max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}: use 1 or more")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}: use a boundary strength from 0 to 1")


def load_embedder(
    name: str, weights: str | None, *, runtime: str = "auto", device: str = "auto", threads: int | None = None
) -> Embedder:
    """Load an embedder by name; ``weights`` is a release, folder or hub id, ``None`` the one that ships.

    Raises:
        ValueError: If a name is unknown, or weights are given to an embedder that has none.
    """
    return open_member(EMBEDDERS, name, "embedder", weights, runtime=runtime, device=device, threads=threads)


def decode_tokens(tokens: Tokens, embedder: Embedder) -> list[np.ndarray]:
    """Paint images from the vectors and boxes of their tokens; see ``SubobjectTokenizer.decode``."""
    width = tokens.vectors.shape[1]
    if width != embedder.dim:
        raise ValueError(
            f"the tokens hold vectors of {width} values, but this embedder makes {embedder.dim}: "
            "decode them with the embedder that made them"
        )
    return [embedder.reconstruct(one.vectors, one.segmentation.boxes, one.segmentation.size_hw) for one in tokens]


def _locate_weights(config: TokenizerConfig, folder: Path) -> TokenizerConfig:
    """Replace the names of the weight folders inside a saved tokenizer by their paths."""
    located: dict[str, Any] = {
        name: str(folder / value)
        for name, value in _WEIGHT_FOLDERS.items()
        if getattr(config, name) == value and (folder / value).is_dir()
    }
    return replace(config, **located)
