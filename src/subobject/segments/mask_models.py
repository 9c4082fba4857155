"""SAM, SAM 2 and panoptic networks as segmenters: masks from transformers, made a partition by ``masks``.

No such weights ship with the package; ``from_pretrained`` takes a folder or a hub id. Resizing, prompting and the choice among
masks are done here, so that nothing but torch and transformers is needed. The merge tree follows the boundary map where one is
given, and else the colour gradient.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from subobject import weights
from subobject.boundaries import check_image
from subobject.images import normalise, resize
from subobject.registry import load_member
from subobject.runtime import Network, open_network
from subobject.segments.colour import colour_gradient
from subobject.segments.mask_formats import Mask, MaskSet, crop_mask
from subobject.segments.masks import PartitionRule, segmentation_from_masks
from subobject.structures import Boundaries, Segmentation

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_POINT_MODELS = {
    "sam": "transformers:SamModel",
    "sam2": "transformers:Sam2Model",
    "sam2_video": "transformers:Sam2Model",
}
_PANOPTIC_MODELS = {
    "maskformer": "transformers:MaskFormerForInstanceSegmentation",
    "mask2former": "transformers:Mask2FormerForUniversalSegmentation",
    "oneformer": "transformers:OneFormerForUniversalSegmentation",
}


@dataclass(frozen=True)
class PointOptions:
    """How masks are asked for at a grid of points, as ``SamAutomaticMaskGenerator`` does; its values are the defaults.

    Attributes:
        points_per_side: Points along each side of the image.
        points_per_call: Points decoded together.
        pred_iou: Masks whose predicted IoU is not above it are left out.
        stability: Masks are left out whose IoU between the cuts of their logits at 1 and -1 is not above it.
        box_nms: Of two masks whose boxes have an IoU above it, the one of the lower predicted IoU is left out.
    """

    points_per_side: int = 32
    points_per_call: int = 64
    pred_iou: float = 0.88
    stability: float = 0.95
    box_nms: float = 0.7


@dataclass(frozen=True)
class PanopticOptions:
    """How queries become segments, as in MaskFormer's panoptic inference; the values of transformers are the defaults.

    Attributes:
        threshold: Queries whose class probability is not above it are left out.
        overlap: Segments are left out that keep no more than this share of their mask once every pixel went to its best query.
    """

    threshold: float = 0.5
    overlap: float = 0.8


class MaskSegmenter(ABC):
    """What both kinds share: masks to a segmentation. A member of ``SEGMENTERS``' kind that needs weights.

    Attributes:
        network: What runs.
        rule: How masks become a partition.
    """

    needs_boundaries = False

    def __init__(self, network: Network, rule: PartitionRule):
        self.network = network
        self.rule = rule

    @abstractmethod
    def masks(self, image: np.ndarray) -> MaskSet:
        """Return the masks of an image, ``(H, W, 3)`` uint8 RGB."""

    def __call__(self, image: np.ndarray, boundaries: Boundaries | None = None, max_segments: int | None = None) -> Segmentation:
        """Segment one image ``(H, W, 3)`` uint8 RGB; see ``segments.Segmenter``."""
        check_image(image)
        strength = colour_gradient(image) if boundaries is None else boundaries.probability
        return segmentation_from_masks(self.masks(image), strength, max_segments, self.rule)


class PointPromptedSegmenter(MaskSegmenter):
    """SAM (Kirillov et al., ICCV 2023) or SAM 2 (Ravi et al., 2024) with a grid of points; ``from_pretrained`` makes one."""

    def __init__(self, network: Network, rule: PartitionRule, options: PointOptions, processor: "_Processor", pads: bool):
        super().__init__(network, rule)
        self.options = options
        self.processor = processor
        self.pads = pads

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, device: str = "auto", rule: PartitionRule | None = None, **options: Any
    ) -> "PointPromptedSegmenter":
        """Open a SAM or SAM 2 checkpoint.

        Args:
            name_or_folder: Folder or hub id, with ``config.json`` and safetensors.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            rule: How masks become a partition.
            options: Fields of ``PointOptions``.

        Raises:
            WeightsError: If there are no such weights or they are of another kind.
            ModuleNotFoundError: If torch or transformers is missing.
        """
        chosen = PointOptions(**options)
        folder = weights.resolve(name_or_folder, "masks")
        config = _read_config(folder, _POINT_MODELS)
        processor = _Processor.read(folder, default_side=(config.get("prompt_encoder_config") or {}).get("image_size", 1024))

        def build() -> Any:
            from subobject.segments.mask_networks import PointPrompted

            model = weights.load_torch(load_member(_POINT_MODELS[config["model_type"]]), folder)
            return PointPrompted(model, chosen.pred_iou, chosen.points_per_call)

        network = open_network(onnx=None, torch_factory=build, runtime="torch", device=device)
        return cls(network, rule or PartitionRule(), chosen, processor, pads=config["model_type"] == "sam")

    def masks(self, image: np.ndarray) -> MaskSet:
        """Return the masks that pass the thresholds, best first, with predicted IoU as scores."""
        side = self.processor.side
        height, width = image.shape[:2]
        # SAM pads the scaled image to a square; SAM 2 squeezes it into one.
        scale = side / max(height, width)
        inner = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))) if self.pads else (side, side)
        pixels = np.zeros((1, 3, side, side), np.float32)
        pixels[:, :, : inner[0], : inner[1]] = self.processor.normalise(resize(image, inner))
        logits, ious = self.network(pixel_values=pixels, points=_grid(self.options.points_per_side, inner))
        found: list[tuple[float, Mask]] = []
        for i in np.argsort(-ious, kind="stable"):
            full = resize(resize(logits[i], (side, side))[: inner[0], : inner[1]], (height, width))
            inside, wide = np.count_nonzero(full > 1), np.count_nonzero(full > -1)
            if inside > self.options.stability * wide:
                found.append((float(ious[i]), crop_mask(full > 0)))
        kept = suppress_boxes([mask for _, mask in found], self.options.box_nms)
        return MaskSet((height, width), [found[i][1] for i in kept], np.array([found[i][0] for i in kept]))


class PanopticSegmenter(MaskSegmenter):
    """MaskFormer, Mask2Former (Cheng et al., CVPR 2022) or OneFormer (Jain et al., CVPR 2023); ``from_pretrained`` makes one."""

    def __init__(self, network: Network, rule: PartitionRule, options: PanopticOptions, processor: "_Processor"):
        super().__init__(network, rule)
        self.options = options
        self.processor = processor

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, device: str = "auto", rule: PartitionRule | None = None, **options: Any
    ) -> "PanopticSegmenter":
        """Open a panoptic checkpoint; arguments and errors as for ``PointPromptedSegmenter``, options of ``PanopticOptions``."""
        folder = weights.resolve(name_or_folder, "masks")
        config = _read_config(folder, _PANOPTIC_MODELS)

        def build() -> Any:
            from subobject.segments.mask_networks import Panoptic

            model = weights.load_torch(load_member(_PANOPTIC_MODELS[config["model_type"]]), folder)
            return Panoptic(model, _task_tokens(folder, config) if config["model_type"] == "oneformer" else None)

        network = open_network(onnx=None, torch_factory=build, runtime="torch", device=device)
        return cls(network, rule or PartitionRule(), PanopticOptions(**options), _Processor.read(folder, default_side=800))

    def masks(self, image: np.ndarray) -> MaskSet:
        """Return the panoptic segments, which do not overlap, with class probabilities as scores."""
        height, width = image.shape[:2]
        classes, probabilities = self.network(
            pixel_values=self.processor.normalise(resize(image, self.processor.size(height, width)))
        )
        shifted = np.exp(classes - classes.max(axis=1, keepdims=True))
        probability = shifted / shifted.sum(axis=1, keepdims=True)
        scores = probability.max(axis=1)
        queries = np.flatnonzero((probability.argmax(axis=1) < classes.shape[1] - 1) & (scores > self.options.threshold))
        masks: list[Mask] = []
        kept: list[float] = []
        if len(queries):
            inside = np.stack([resize(probabilities[i], (height, width)) for i in queries])
            winner = np.argmax(inside * scores[queries, None, None], axis=0)
            for row, query in enumerate(queries):
                own = winner == row
                full = np.count_nonzero(inside[row] >= 0.5)
                if own.any() and full and np.count_nonzero(own) > self.options.overlap * full:
                    masks.append(crop_mask(own))
                    kept.append(float(scores[query]))
        return MaskSet((height, width), masks, np.array(kept))


@dataclass(frozen=True)
class _Processor:
    """The part of ``preprocessor_config.json`` that matters here; ``side`` is the square of SAM or the short side of panoptic."""

    side: int
    longest: int
    exact: tuple[int, int] | None = None
    mean: tuple[float, ...] = field(default=_IMAGENET_MEAN)
    std: tuple[float, ...] = field(default=_IMAGENET_STD)

    @classmethod
    def read(cls, folder: Path, default_side: int) -> "_Processor":
        path = folder / "preprocessor_config.json"
        values = weights.read_json(path) if path.is_file() else {}
        size = values.get("size") or {}
        exact = (size["height"], size["width"]) if "height" in size else None
        return cls(
            side=max(exact) if exact else size.get("shortest_edge", default_side),
            longest=size.get("longest_edge", 1333),
            exact=exact,
            mean=tuple(values.get("image_mean") or _IMAGENET_MEAN),
            std=tuple(values.get("image_std") or _IMAGENET_STD),
        )

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the input size of a panoptic network: multiples of 32, within the longest side."""
        if self.exact:
            return self.exact
        scale = min(self.side / min(height, width), self.longest / max(height, width))
        rows, columns = (max(32, round(side * scale / 32) * 32) for side in (height, width))
        return rows, columns

    def normalise(self, pixels: np.ndarray) -> np.ndarray:
        return normalise(pixels, self.mean, self.std)


def suppress_boxes(masks: list[Mask], limit: float) -> list[int]:
    """Leave out each mask whose box overlaps that of an earlier kept one by an IoU above ``limit``; returns the kept indices."""
    boxes = np.array([[m.left, m.top, m.left + m.inside.shape[1], m.top + m.inside.shape[0]] for m in masks]).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for i, box in enumerate(boxes):
        if areas[i] == 0:
            continue
        low, high = np.maximum(box[:2], boxes[kept, :2]), np.minimum(box[2:], boxes[kept, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        if np.all(shared <= limit * (areas[i] + areas[kept] - shared)):
            kept.append(i)
    return kept


def _grid(per_side: int, size_hw: tuple[int, int]) -> np.ndarray:
    """Return the centres of an even grid as ``(x, y)`` in pixels, ``(per_side ** 2, 2)`` float32."""
    centres = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(centres * size_hw[1], centres * size_hw[0])
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _read_config(folder: Path, known: dict[str, str]) -> dict[str, Any]:
    config = weights.read_json(folder / "config.json")
    if config.get("model_type") not in known:
        raise weights.WeightsError(
            f"{folder / 'config.json'}: model_type is {config.get('model_type')!r}, expected one of {', '.join(known)}"
        )
    return config


def _task_tokens(folder: Path, config: dict[str, Any]) -> Any:
    import torch
    from transformers import CLIPTokenizer

    length = config.get("task_seq_len", 77)
    tokens = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    encoded = tokens(["the task is panoptic"], padding="max_length", max_length=length, truncation=True)
    # As OneFormer's processor does: padding becomes 0.
    return torch.tensor(encoded["input_ids"]) * torch.tensor(encoded["attention_mask"])
