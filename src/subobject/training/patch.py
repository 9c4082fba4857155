"""Training of the patch baseline, a linear autoencoder (``subobject train patch``)."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from subobject.data import read_images
from subobject.data.patch_crops import PatchCrops, PatchOptions
from subobject.embeddings.linear import LinearAutoencoder, LinearAutoencoderConfig
from subobject.training.recipe import Recipe, options, run
from subobject.training.seqae import OwnLossTrainer, batch_arguments, collate


def train(recipe: Recipe) -> Path:
    """Train the linear autoencoder of a recipe and return the folder of its final weights.

    Training starts from the principal components of the first ``crops.start`` batches, or at random if that is 0.

    Raises:
        ValueError: If the recipe sets a batch size other than 1: ``crops.batch`` is the number of patches.
    """
    args = batch_arguments(recipe, "patches")
    model = LinearAutoencoder(LinearAutoencoderConfig(**recipe.model))
    drawing = options(PatchOptions, recipe.crops, "crops")
    images = read_images(recipe.dataset, recipe.data, recipe.splits)
    if not isinstance(images, Sequence):
        raise ValueError(
            f"patches are drawn from photographs in memory, but {recipe.dataset} is read as a stream: use another set"
        )
    steps = args.max_steps * args.gradient_accumulation_steps * args.world_size
    length = max(steps, drawing.start)
    crops = PatchCrops([image.image() for image in images], model.config.patch, length, drawing, args.seed)
    if drawing.start:
        start_from(model, *principal_components((crops[i]["patches"] for i in range(drawing.start)), model.config.vector))
    return run(recipe, args, model, crops, collate, OwnLossTrainer)


def principal_components(batches: Iterable[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the directions of largest variance, the optimum of a linear autoencoder.

    Args:
        batches: Patches, each ``(B, P)`` float32; at least one.
        count: Directions wanted; at most ``P`` are returned.

    Returns:
        Orthonormal rows by falling variance, ``(min(count, P), P)`` float32, the largest value of each positive; and the mean
        patch, ``(P,)`` float32.
    """
    number, total, products = 0, np.zeros(()), np.zeros(())
    for batch in batches:
        number += len(batch)
        centred = batch - np.float32(0.5)  # Little is lost to cancellation then.
        total = total + centred.sum(axis=0, dtype=np.float64)
        products = products + centred.T @ centred
    mean = total / number
    _, vectors = np.linalg.eigh(products / number - np.outer(mean, mean))
    rows = vectors.T[::-1][:count]
    rows = rows * np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])[:, None]
    return rows.astype(np.float32), (mean + 0.5).astype(np.float32)


@torch.no_grad()
def start_from(model: LinearAutoencoder, components: np.ndarray, mean: np.ndarray) -> None:
    """Let a model begin with some components ``(K, P)`` and a mean ``(P,)``; rows beyond ``K`` become zero."""
    model.weight.zero_()
    model.weight[: len(components)] = torch.from_numpy(components)
    model.mean.copy_(torch.from_numpy(mean))
