"""The networks that ``subobject train boundaries`` can train, by the ``type`` in a recipe's ``model`` section."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from subobject import weights
from subobject.registry import load_member, lookup

MODELS: dict[str, str] = {
    "boundary_net": "subobject.boundaries.network:BoundaryNet",
    "segformer": "transformers:SegformerForSemanticSegmentation",
}
"""Type -> ``module:class`` of a ``PreTrainedModel`` whose output has ``logits`` ``(B, 1, h, w)`` and perhaps ``side_logits``."""

_BATCH_NORMS = ("train", "frozen", "sync")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def build_model(section: dict[str, Any]) -> PreTrainedModel:
    """Build the network of a recipe.

    Args:
        section: ``type``: a key of ``MODELS``, ``boundary_net`` if missing. ``initial``: folder or hub id of weights to start
            from; parts of another shape, such as a classifier, are left out. ``batch_norm``: ``train`` (statistics of the
            micro-batch of each process), ``sync`` (of all processes; CUDA only) or ``frozen`` (running statistics, for small
            batches and for runs that must not depend on the number of processes). All else are arguments of its config class.

    Raises:
        ValueError: If a name is unknown.
    """
    arguments = dict(section)
    model_class = load_member(lookup(MODELS, arguments.pop("type", "boundary_net"), "type of boundary network"))
    initial, batch_norm = arguments.pop("initial", None), arguments.pop("batch_norm", "train")
    lookup(dict.fromkeys(_BATCH_NORMS), str(batch_norm), "batch_norm")
    known = model_class.config_class().to_dict()
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        lookup(known, unknown[0], f"argument of {model_class.config_class.__name__}")
    if model_class.config_class.model_type == "segformer":
        arguments["num_labels"] = 1
    config = model_class.config_class(**arguments)
    if initial is None:
        model = model_class(config)
    else:
        folder = weights.resolve(initial, "boundaries")
        model = model_class.from_pretrained(
            folder, config=config, use_safetensors=True, ignore_mismatched_sizes=True, dtype=torch.float32
        )
    if batch_norm == "sync":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    elif batch_norm == "frozen":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_pre_hook(_keep_statistics)
    return model


def normalisation(config: PretrainedConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the RGB channels, in [0, 1], that a network expects."""
    return tuple(getattr(config, "image_mean", _IMAGENET[0])), tuple(getattr(config, "image_std", _IMAGENET[1]))


def save_preprocessing(config: PretrainedConfig, size: int, folder: Path) -> None:
    """Write ``preprocessor_config.json`` beside the weights of a SegFormer, as ``DirectSAM`` reads it; others need none."""
    if config.model_type != "segformer":
        return
    from transformers import SegformerImageProcessorPil

    mean, std = normalisation(config)
    square = {"height": size, "width": size}
    SegformerImageProcessorPil(size=square, image_mean=mean, image_std=std, do_reduce_labels=False).save_pretrained(folder)


def _keep_statistics(module: nn.Module, inputs: Any) -> None:
    module.eval()
