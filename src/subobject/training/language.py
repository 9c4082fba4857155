"""Training of language models that read subobjects, on captions of CLEVR (``subobject train language``).

As published (arXiv 2402.14327, section 4): segments and vectors are cut and embedded before, so that a run reads a token store;
runs on subobjects and on patches differ in nothing but that store.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoTokenizer, EvalPrediction, PreTrainedTokenizerBase, Trainer, set_seed

from subobject.data.captions import caption
from subobject.data.clevr import ClevrImage, read_clevr
from subobject.language.adapters import add_adapter, save_adapter
from subobject.language.base import Initialisation
from subobject.language.modeling import SubobjectForCausalLM
from subobject.language.origin import Origin
from subobject.language.processing import IMAGE_TOKEN, SubobjectProcessor, tokenizer_config
from subobject.language.splice import IGNORED
from subobject.language.words import word_tokenizer
from subobject.tokens.store import TokenStore
from subobject.training.recipe import Recipe, options, run, training_arguments

logger = logging.getLogger(__name__)
WORDS = "words"
_MARGIN = 8
"""Tokens that a generated caption may be longer than the longest one of the training set."""
_STATISTICS = 512
"""Images by whose vectors the projector is standardised."""


@dataclass(frozen=True, kw_only=True)
class LanguageOptions:
    """The section ``language`` of a recipe.

    Attributes:
        base: Folder or hub id of a causal language model, or values of a configuration with its ``model_type``, to start from
            random weights.
        tokenizer: Folder or hub id of a text tokenizer; that of ``base`` if ``None``. ``words`` makes one of the captions' words.
        prompt: Text before the caption, with the place of the image.
        colour: Whether captions name colours; the paper reports both.
        samples: Captions to train on, the first ones; all if ``None``.
        mirror: Whether to train on the mirrored pictures as well, whose tokens the store then holds; see ``ClevrImage.mirror``.
        eval_split: Part of the data set to evaluate on.
        eval_samples: Captions to evaluate on, the first ones; all if ``None``.
        adapter: Values of a peft configuration, see ``adapters.add_adapter``; ``None`` trains the whole language model.
        packed: Whether training batches are packed instead of padded; see ``SubobjectProcessor``.
        row_length: Length of packed rows.
        initialisation: How ``<SOI>`` and ``<EOI>`` start; see ``SubobjectForCausalLM.from_language_model``.
        standardise: Whether vectors are standardised by the statistics of the training set; not in the paper.
        in_memory: Whether all vectors are read at the start; if not, each is read when it is needed.
        dtype: Type of the language model's weights.
    """

    base: str | dict[str, Any]
    tokenizer: str | None = None
    prompt: str = IMAGE_TOKEN
    colour: bool = True
    samples: int | None = None
    mirror: bool = False
    eval_split: str = "val"
    eval_samples: int | None = None
    adapter: dict[str, Any] | None = None
    packed: bool = False
    row_length: int | None = None
    initialisation: Initialisation = "mean"
    standardise: bool = True
    in_memory: bool = True
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.tokenizer is None and isinstance(self.base, dict):
            raise ValueError(
                "language.base is a configuration, which has no tokenizer: set language.tokenizer, for example to words"
            )
        if self.adapter is not None and isinstance(self.base, dict):
            raise ValueError(
                "an adapter on a language model of random weights could not be used again: leave language.adapter out"
            )
        if not isinstance(getattr(torch, self.dtype, None), torch.dtype):
            raise ValueError(f"language.dtype is {self.dtype!r}: use float32, bfloat16 or float16")


class ImageVectors(NamedTuple):
    """Vectors ``(N, D)`` float32 and token boxes ``(N, 4)`` float32 of one image."""

    vectors: np.ndarray
    boxes: np.ndarray


class CaptionedTokens(torch.utils.data.Dataset):
    """Stored tokens of CLEVR images with their captions.

    Args:
        store: The tokens.
        images: Images of the data set; those that the store lacks are left out, with a warning.
        colour: Whether captions name colours.
        in_memory: Whether vectors are read now.

    Raises:
        ValueError: If the store holds none of the images, or holds two images of one name.
    """

    def __init__(self, store: TokenStore, images: Sequence[ClevrImage], *, colour: bool = True, in_memory: bool = True):
        index = _by_file_name(store)
        present = [image for image in images if image.name in index]
        if not present:
            raise ValueError(f"{store.folder} holds none of the images, such as {images[0].name}: tokenize them first")
        if len(present) < len(images):
            logger.warning("%s lacks %d of %d images, which are left out", store.folder, len(images) - len(present), len(images))
        self.store = store
        self.rows = [index[image.name] for image in present]
        self.captions = [caption(image, colour=colour) for image in present]
        self._loaded = [self._read(row) for row in self.rows] if in_memory else None

    def __len__(self) -> int:
        """Return the number of captions."""
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[ImageVectors, str]:
        """Return the tokens of an image and its caption."""
        return (self._read(self.rows[item]) if self._loaded is None else self._loaded[item]), self.captions[item]

    def _read(self, row: int) -> ImageVectors:
        stored = self.store.row(row)
        return ImageVectors(stored.vectors, stored.boxes)


def train(recipe: Recipe) -> Path:
    """Train the language model of a recipe; return the folder with the final model, or its adapter, and its processor.

    Raises:
        ValueError: If data, tokens, language model or options do not fit; the message says which.
    """
    args = training_arguments(recipe)
    args.label_names = ["labels"]
    set_seed(args.seed)
    choice = options(LanguageOptions, recipe.language, "language")
    if recipe.tokens is None:
        raise ValueError(
            "the recipe lacks the key 'tokens': give the folder that `subobject tokenize -o` wrote, --set tokens=..."
        )
    training, evaluation = _read_data(recipe, choice)
    tokenizer = _make_tokenizer(choice, training.captions)
    origin = Origin.of_tokens(f"{len(training):,} pictures of scenes as in CLEVR", training.store.settings)
    images = tokenizer_config(training.store.settings)
    processor = SubobjectProcessor(tokenizer, images, prompt=choice.prompt, trained_on=origin)
    processor.check_tokens(evaluation.store.settings)
    model = _make_model(recipe, choice, processor, training)
    trained: Any = model if choice.adapter is None else add_adapter(model, choice.adapter)
    make_trainer = partial(
        CaptionTrainer,
        eval_dataset=evaluation,
        processor=processor,
        compute_metrics=perplexity,
        preprocess_logits_for_metrics=caption_losses,
    )
    collate = partial(_collate, processor=processor, packed=choice.packed, row_length=choice.row_length)
    final = run(recipe, args, trained, training, collate, make_trainer)
    if args.process_index == 0:
        processor.save_pretrained(final)
        if choice.adapter is not None:
            save_adapter(trained, final)
    return final


class CaptionTrainer(Trainer):
    """Evaluates on padded batches, of which each row is a caption, also where training batches are packed."""

    def __init__(self, *args: Any, processor: SubobjectProcessor, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.processor = processor

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        packing, self.data_collator = self.data_collator, partial(_collate, processor=self.processor)
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = packing


def caption_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross-entropy and the number of targets of each row, ``(B, 2)`` float32.

    Args:
        logits: ``(B, L, V)``.
        labels: ``(B, L)`` int64, ``-100`` for none.
    """
    targets = labels[:, 1:]
    losses = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), targets, reduction="none", ignore_index=IGNORED)
    return torch.stack([losses.sum(dim=1), (targets != IGNORED).sum(dim=1).float()], dim=1)


def perplexity(prediction: EvalPrediction) -> dict[str, float]:
    """Return the perplexity of all captions, each target counting once; predictions are those of ``caption_losses``."""
    loss, targets = np.asarray(prediction.predictions, dtype=np.float64).sum(axis=0)
    return {"perplexity": math.exp(loss / targets), "targets": targets}


def _collate(
    items: list[tuple[ImageVectors, str]], processor: SubobjectProcessor, packed: bool = False, row_length: int | None = None
) -> dict[str, Tensor]:
    images, captions = zip(*items, strict=True)
    texts = [processor.prompt] * len(items)
    return dict(processor(texts, tokens=images, targets=captions, packed=packed, row_length=row_length))


def _read_data(recipe: Recipe, choice: LanguageOptions) -> tuple[CaptionedTokens, CaptionedTokens]:
    images = [image for split in recipe.splits for image in read_clevr(recipe.data, split)][: choice.samples]
    if choice.mirror:
        images += [image.mirror() for image in images]
    unseen = read_clevr(recipe.data, choice.eval_split)[: choice.eval_samples]
    read = partial(CaptionedTokens, colour=choice.colour, in_memory=choice.in_memory)
    return read(_open_store(recipe, recipe.splits[0]), images), read(_open_store(recipe, choice.eval_split), unseen)


def _open_store(recipe: Recipe, split: str) -> TokenStore:
    """Open the store of a split: a folder of its name below ``tokens``, or ``tokens`` itself."""
    folder = Path(str(recipe.tokens))
    return TokenStore.open(folder / split if (folder / split).is_dir() else folder)


def _by_file_name(store: TokenStore) -> dict[str, int]:
    """Index a store by the names of its files, which in CLEVR say split and number."""
    index: dict[str, int] = {}
    for row, image_id in enumerate(store.image_ids()):
        name = Path(image_id).name
        if name in index:
            raise ValueError(f"{store.folder} holds two images called {name}: tokenize the folder `images` alone, without masks")
        index[name] = row
    return index


def _make_tokenizer(choice: LanguageOptions, captions: list[str]) -> PreTrainedTokenizerBase:
    if choice.tokenizer == WORDS:
        length = choice.base.get("max_position_embeddings", 2048) if isinstance(choice.base, dict) else 2048
        return word_tokenizer([choice.prompt.replace(IMAGE_TOKEN, ""), *captions], length)
    name = choice.tokenizer or str(choice.base)
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"the tokenizer {name} cannot be loaded: {reason}") from error


def _make_model(
    recipe: Recipe, choice: LanguageOptions, processor: SubobjectProcessor, training: CaptionedTokens
) -> SubobjectForCausalLM:
    tokenizer = processor.tokenizer
    base: Any = choice.base
    if isinstance(base, dict):
        special = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        base = AutoConfig.for_model(**({"vocab_size": len(tokenizer)} | special | base))
    images = [training[item][0] for item in range(min(_STATISTICS, len(training)))]
    model = SubobjectForCausalLM.from_language_model(
        base,
        tokenizer,
        vector_size=images[0].vectors.shape[1],
        initialisation=choice.initialisation,
        dtype=getattr(torch, choice.dtype),
        **recipe.model,
    )
    if choice.standardise:
        model.projector.standardise(torch.from_numpy(np.concatenate([one.vectors for one in images])))
    longest = max(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in training.captions)
    model.generation_config.max_new_tokens = longest + _MARGIN
    return model
