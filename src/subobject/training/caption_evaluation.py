"""Evaluation of a trained language model on captions of CLEVR: what it writes, how likely it finds the truth, what it costs."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from subobject.data.captions import caption, parse_caption
from subobject.data.clevr import ClevrImage
from subobject.files import atomic_path
from subobject.language.captioner import Captioner
from subobject.language.modeling import SubobjectForCausalLM
from subobject.language.processing import ImageTokens
from subobject.metrics.captions import caption_scores, perplexity, prefill_flops
from subobject.tokens.store import TokenStore
from subobject.training.language import CaptionedTokens, caption_losses


@dataclass(frozen=True)
class Prediction:
    """What a model made of one image.

    Attributes:
        image: Name of the image, its file's without the suffix.
        text: The caption that it wrote.
        loss: Summed negative log-likelihood of the true caption and its end.
        targets: Number of text tokens that this is the sum of.
        image_tokens: Tokens of the image.
        prompt_tokens: Tokens of the whole prompt.
    """

    image: str
    text: str
    loss: float
    targets: int
    image_tokens: int
    prompt_tokens: int


def stored_tokens(store: TokenStore, images: Sequence[ClevrImage]) -> Iterator[ImageTokens]:
    """Yield the tokens of each image from a store.

    Raises:
        ValueError: If the store lacks an image.
    """
    rows = CaptionedTokens(store, images, in_memory=False)
    if len(rows) < len(images):
        raise ValueError(f"{store.folder} lacks {len(images) - len(rows)} of {len(images)} images: tokenize all of the split")
    return (rows[i][0] for i in range(len(rows)))


def cut_tokens(captioner: Captioner, images: Sequence[ClevrImage], max_tokens: int | None) -> Iterator[ImageTokens]:
    """Yield the tokens of each image, cut as the captioner does."""
    return (captioner.tokens(image.image(), max_tokens=max_tokens) for image in images)


@torch.inference_mode()
def predict(
    captioner: Captioner,
    images: Sequence[ClevrImage],
    tokens: Iterator[ImageTokens],
    *,
    colour: bool = True,
    batch_size: int = 32,
    advance: Callable[[], None] = lambda: None,
) -> Iterator[Prediction]:
    """Caption images greedily, and weigh their true captions.

    Args:
        captioner: The model with its processor.
        images: Images with their scenes.
        tokens: Tokens of each image.
        colour: Whether the true captions name colours.
        batch_size: Images at a time.
        advance: Called after each image.
    """
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        read: list[Any] = [next(tokens) for _ in batch]
        truth = [caption(image, colour=colour) for image in batch]
        prompts = [captioner.processor.prompt] * len(batch)
        inputs = captioner.processor(prompts, tokens=read).to(captioner.model.device)
        written = captioner.model.generate(**inputs, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        targets = captioner.processor(prompts, tokens=read, targets=truth).to(captioner.model.device)
        labels = targets.pop("labels")
        losses = caption_losses(captioner.model(**targets).logits, labels).tolist()
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        for image, ids, one, (loss, count), length in zip(batch, written, read, losses, lengths, strict=True):
            text = captioner.processor.decode(ids).strip()
            yield Prediction(image.id, text, loss, int(count), len(one.vectors), length)
            advance()


def write_predictions(
    path: str | Path, predictions: Sequence[Prediction], images: Sequence[ClevrImage], *, colour: bool = True
) -> None:
    """Write one JSON object a line: the fields of ``Prediction``, and the true ``caption``."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as lines:
        for one, image in zip(predictions, images, strict=True):
            lines.write(json.dumps(asdict(one) | {"caption": caption(image, colour=colour)}) + "\n")


def summarise(
    model: SubobjectForCausalLM, predictions: Sequence[Prediction], images: Sequence[ClevrImage], *, colour: bool = True
) -> dict[str, float]:
    """Score predictions.

    Returns:
        The scores of ``metrics.captions.caption_scores``, and ``perplexity`` of the true captions, ``tokens`` (of an image),
        ``prompt_tokens`` and ``prefill_flops``, each a mean over images.
    """
    references = [parse_caption(caption(image, colour=colour), colour=colour) for image in images]
    cost = model_cost(model)
    flops = [prefill_flops(tokens=one.prompt_tokens, image_tokens=one.image_tokens, **cost) for one in predictions]
    return {
        **caption_scores([one.text for one in predictions], references),
        "perplexity": perplexity((one.loss for one in predictions), (one.targets for one in predictions)),
        "tokens": float(np.mean([one.image_tokens for one in predictions])),
        "prompt_tokens": float(np.mean([one.prompt_tokens for one in predictions])),
        "prefill_flops": float(np.mean(flops)),
    }


def model_cost(model: SubobjectForCausalLM) -> dict[str, int]:
    """Return what ``metrics.captions.prefill_flops`` asks of a model: ``weights``, ``layers`` and so on."""
    language_model, config = model.language_model, model.config.text_config
    tables = (language_model.get_input_embeddings(), language_model.get_output_embeddings())
    outside = {id(weight) for table in tables if table is not None for weight in table.parameters()}
    matrices = [weight for weight in language_model.parameters() if weight.ndim > 1 and id(weight) not in outside]
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return {
        "weights": sum(weight.numel() for weight in matrices),
        "layers": config.num_hidden_layers,
        "attention_width": config.num_attention_heads * head_size,
        "projector_weights": sum(weight.numel() for weight in model.projector.parameters() if weight.ndim > 1),
    }
