"""The language model that a ``SubobjectForCausalLM`` is put around: opening it, and making room for the added tokens."""

import copy
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from subobject.language.splice import Places

MARKER_TEXTS = ("start of image", "end of image")
"""What ``<SOI>`` and ``<EOI>`` mean, for the initialisation ``text``."""
Initialisation = Literal["mean", "normal", "text"]


def open_language_model(source: Any, dtype: torch.dtype | None) -> tuple[Any, str | None]:
    """Load a causal language model, or make one of random weights.

    Args:
        source: A folder or hub id with safetensors, a configuration, or a model.
        dtype: Type of the weights; that of the source if ``None``.

    Returns:
        The model, and where it came from, if from a folder or the hub.

    Raises:
        ValueError: If it cannot be loaded. No pickle is read, and no remote code run.
    """
    if isinstance(source, PreTrainedModel):
        model: Any = source
        return (model if dtype is None else model.to(dtype)), (model.name_or_path or None)
    if isinstance(source, PretrainedConfig):
        return AutoModelForCausalLM.from_config(source, dtype=dtype), None
    try:
        model = AutoModelForCausalLM.from_pretrained(str(source), use_safetensors=True, dtype=dtype or "auto")
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"the language model {source} cannot be loaded: {reason}") from error
    return model, str(source)


@torch.no_grad()
def grow_vocabulary(model: Any, size: int) -> None:
    """Make room for added ids; new rows hold the mean of the others, so that the same base is made again each time."""
    rows = model.get_input_embeddings().weight.shape[0]
    if size <= rows:
        return
    model.resize_token_embeddings(size, mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    head = model.get_output_embeddings()
    if head is not None:
        tables += [table for table in (head.weight, getattr(head, "bias", None)) if table is not None]
    for table in tables:
        table[rows:] = table[:rows].float().mean(dim=0).to(table.dtype)


@torch.no_grad()
def marker_embeddings(table: Tensor, tokenizer: Any, how: Initialisation) -> Tensor:
    """Return first embeddings of ``<SOI>`` and ``<EOI>``, ``(2, width)``.

    Args:
        table: Embeddings of the vocabulary, ``(V, width)`` float32.
        tokenizer: The text tokenizer.
        how: The ``mean`` of the vocabulary, drawn from a ``normal`` distribution as wide as it, or the mean of a ``text`` that
            says what they are.

    Raises:
        ValueError: If ``how`` is unknown.
    """
    if how == "mean":
        return table.mean(dim=0).repeat(2, 1)
    if how == "normal":
        return torch.randn_like(table[:2]) * table.std()
    if how == "text":
        texts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in MARKER_TEXTS]
        return torch.stack([table[ids].mean(dim=0) for ids in texts])
    raise ValueError(f"unknown initialisation {how!r}: use 'mean', 'normal' or 'text'")


def generation_config(language_model: PreTrainedModel, tokenizer: Any, places: Places) -> Any:
    """Return how to generate: until the tokenizer's end of a sequence, and never one of the added tokens."""
    config = copy.deepcopy(language_model.generation_config)
    config.eos_token_id = config.eos_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    config.pad_token_id = config.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    config.suppress_tokens = list(places)
    return config
