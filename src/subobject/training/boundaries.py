"""Training of boundary networks on annotated images (``subobject train boundaries``)."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import TrainingArguments

from subobject.data import ImageStream, read_images
from subobject.data.boundary_crops import BoundaryCrops, CropOptions
from subobject.data.boundary_targets import TargetOptions
from subobject.registry import lookup
from subobject.training.boundary_models import build_model, normalisation, save_preprocessing
from subobject.training.losses import LOSSES, collate_targets
from subobject.training.recipe import STATE_FILE, Recipe, options, run, stages, training_arguments
from subobject.training.streams import CropStream, StreamShare, StreamTrainer


class BoundaryTrainer(StreamTrainer):
    """Sums the loss of the map and the weighted losses of the side outputs, where the network has any."""

    def __init__(
        self,
        *args: Any,
        loss: str,
        side_weight: float,
        loss_options: dict[str, float],
        rates: dict[str, float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.rates = rates or {}
        self.loss = partial(lookup(LOSSES, loss, "loss"), **loss_options)
        self.side_weight = side_weight
        # The loss below is a mean over the micro-batch; it is Trainer that divides by the number of accumulated ones.
        self.model_accepts_loss_kwargs = False

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimizer of ``Trainer`` and divide its groups by the factors on the learning rate."""
        optimizer = super().create_optimizer(model)
        trained: Any = self.model if model is None else model
        names = {parameter: name for name, parameter in trained.named_parameters()}
        groups = []
        for group in optimizer.param_groups:
            by_factor: dict[float, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                by_factor.setdefault(_factor(names[parameter], self.rates), []).append(parameter)
            groups += [group | {"params": members, "lr": group["lr"] * factor} for factor, members in by_factor.items()]
        optimizer.param_groups = groups
        return optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        output = model(inputs["pixel_values"])
        target = inputs["target"]
        loss = self.loss(_full_size(output.logits, target), target)
        for side in getattr(output, "side_logits", ()):
            loss = loss + self.side_weight * self.loss(_full_size(side, target), target)
        return (loss, output) if return_outputs else loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Load the weights of a checkpoint by ``from_pretrained``.

        ``Trainer`` takes names as they are in the file, but ``save_pretrained`` writes those of published checkpoints, which for
        SegFormer are others than the module's: its weights would be left out with no more than a warning.
        """
        into: Any = self.model if model is None else model
        kept = type(into).from_pretrained(resume_from_checkpoint, config=into.config, use_safetensors=True, dtype=into.dtype)
        into.load_state_dict(kept.state_dict())


def _factor(name: str, rates: dict[str, float]) -> float:
    """Return the factor of the longest prefix that fits, 1 if none does."""
    return rates.get(max((prefix for prefix in rates if name.startswith(prefix)), key=len, default=""), 1.0)


def collate(items: list[dict[str, np.ndarray]], mean: Sequence[float], std: Sequence[float]) -> dict[str, Tensor]:
    """Stack crops into ``pixel_values`` ``(B, 3, S, S)`` and ``target`` ``(B, A, S, S)``, both float32."""
    pixels = torch.from_numpy(np.stack([item["pixels"] for item in items])).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    target = collate_targets([torch.from_numpy(item["target"]) for item in items])
    return {"pixel_values": pixels.contiguous(memory_format=torch.channels_last), "target": target}


def train(recipe: Recipe) -> Path:
    """Train the boundary network of a recipe, stage by stage, and return the folder of its final weights.

    Raises:
        ValueError: If the recipe or the data set is wrong; the message says what to change.
    """
    runs = stages(recipe)
    if len(runs) == 1:
        return _train_stage(runs[0])
    finals = [Path(stage.output) / "final" for stage in runs]
    for number, stage in enumerate(runs):
        if number > 0:
            stage.model["initial"] = str(finals[number - 1])
        if not (Path(stage.output) / STATE_FILE).is_file():
            _train_stage(stage)
    return finals[-1]


def _train_stage(recipe: Recipe) -> Path:
    args = training_arguments(recipe)
    torch.manual_seed(args.seed)
    model = build_model(recipe.model)
    crop_options = options(CropOptions, recipe.crops, "crops")
    target_options = options(TargetOptions, recipe.target, "target")
    crops = _dataset(recipe, args, crop_options, target_options)
    loss_options: dict[str, Any] = {"kind": "balanced", "side_weight": 0.3} | recipe.loss
    trainer = partial(
        BoundaryTrainer,
        loss=loss_options.pop("kind"),
        side_weight=loss_options.pop("side_weight"),
        loss_options=loss_options,
        rates=recipe.rates,
    )
    mean, std = normalisation(model.config)
    final = run(recipe, args, model, crops, partial(collate, mean=mean, std=std), trainer)
    if args.process_index == 0:
        save_preprocessing(model.config, crop_options.size, final)
    return final


def _dataset(recipe: Recipe, args: TrainingArguments, crops: CropOptions, target: TargetOptions) -> BoundaryCrops | CropStream:
    if args.max_steps < 1:
        raise ValueError("trainer.max_steps is missing: give the number of optimiser steps")
    images: Sequence[Any] | ImageStream = read_images(recipe.dataset, recipe.data, recipe.splits)
    if isinstance(images, Sequence):
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        return BoundaryCrops(images, args.max_steps * batch, crops, args.seed, target)
    return CropStream(StreamShare.resumed(images, recipe, args, args.per_device_train_batch_size), crops, target)


def _full_size(logits: Tensor, target: Tensor) -> Tensor:
    """Enlarge logits at a fraction of the resolution, as SegFormer's, to that of the target."""
    logits = logits.float()
    size = target.shape[-2:]
    return logits if logits.shape[-2:] == size else F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
