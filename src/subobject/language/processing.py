"""``SubobjectProcessor``: text with ``<image>`` places, and images or stored tokens, to model inputs."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from transformers import AddedToken, AutoTokenizer, BatchFeature, PreTrainedTokenizerBase
from transformers.utils import PushToHubMixin

from subobject.files import atomic_path
from subobject.language.configuration import SubobjectConfig  # noqa: F401 - AutoTokenizer must know a saved model
from subobject.language.origin import Origin
from subobject.language.splice import (
    ADDED_TOKENS,
    Spliced,
    bins,
    expand,
    find_places,
    label,
    lay_out,
    stack_tokens,
)
from subobject.structures import Tokens
from subobject.tokens.tokenizer import MODEL_TYPE as IMAGE_TOKENIZER_TYPE
from subobject.tokens.tokenizer import SubobjectTokenizer, TokenizerConfig

logger = logging.getLogger(__name__)
CONFIG_NAME = "processor_config.json"
IMAGE_TOKENIZER = "image_tokenizer"
"""Folder, inside that of a processor, of the ``SubobjectTokenizer``."""
IMAGE_TOKEN = ADDED_TOKENS[0]
Message = dict[str, Any]


class ImageTokens(Protocol):
    """Tokens of one image, as far as a language model reads them: ``Tokens`` of one image, or a row of a ``TokenStore``."""

    @property
    def vectors(self) -> np.ndarray:
        """``(N, D)`` float32."""

    @property
    def boxes(self) -> np.ndarray:
        """Token boxes ``(x, y, w, h)`` in [0, 1], ``(N, 4)`` float32."""


class SubobjectProcessor(PushToHubMixin):
    """Joins a text tokenizer and a ``SubobjectTokenizer``.

    Args:
        tokenizer: Text tokenizer; ``<image>``, ``<SOI>`` and ``<EOI>`` are added to it.
        image_tokenizer: Cuts images into tokens; a configuration is loaded at the first image, and is not needed for stored
            tokens.
        prompt: What the model was trained to continue; the captioner's text.
        trained_on: What the model was trained on; tokens of other weights get a warning.
        runtime: What runs the networks of a configured ``image_tokenizer``.
        device: Where they run.

    Raises:
        ValueError: If the tokenizer has no end-of-sequence token.

    Example:
        >>> inputs = processor("<image>", ["photo.jpg"], max_tokens=64)                   # doctest: +SKIP
        >>> processor.decode(model.generate(**inputs)[0])                                 # doctest: +SKIP
        >>> batch = processor(prompts, tokens=stored, targets=captions, packed=True)      # doctest: +SKIP
        >>> model(**batch).loss                                                           # doctest: +SKIP
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_tokenizer: SubobjectTokenizer | TokenizerConfig | None = None,
        *,
        prompt: str = IMAGE_TOKEN,
        trained_on: Origin | None = None,
        runtime: str = "auto",
        device: str = "auto",
    ):
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no eos_token, so generation could not end: set one")
        tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in ADDED_TOKENS], special_tokens=True)
        self.tokenizer = tokenizer
        self.places = find_places(tokenizer)
        self.prompt = prompt
        self.trained_on = trained_on
        self._images = image_tokenizer
        self._runtime: dict[str, Any] = {"runtime": runtime, "device": device}

    @property
    def image_tokenizer(self) -> SubobjectTokenizer:
        """The tokenizer of images, loaded at its first use.

        Raises:
            ValueError: If there is none, or it cannot be loaded.
        """
        if self._images is None:
            raise ValueError("this processor cannot cut images: give stored tokens, or make it with an image_tokenizer")
        if isinstance(self._images, TokenizerConfig):
            self._images = SubobjectTokenizer.from_pretrained(None, **asdict(self._images), **self._runtime)
            self.check_tokens(self._images.settings())
        return self._images

    @property
    def image_config(self) -> TokenizerConfig | None:
        """How images are cut, or None if they are not."""
        return self._images.config if isinstance(self._images, SubobjectTokenizer) else self._images

    def __call__(
        self,
        text: str | Sequence[str],
        images: Any = None,
        *,
        tokens: "Tokens | Sequence[Tokens | ImageTokens] | None" = None,
        targets: str | Sequence[str] | None = None,
        loss_on: Literal["targets", "text"] = "targets",
        packed: bool = False,
        row_length: int | None = None,
        padding_side: Literal["left", "right"] | None = None,
        max_tokens: int | None = None,
    ) -> BatchFeature:
        """Make model inputs.

        Args:
            text: One text or several, with an ``<image>`` for each image.
            images: One image or several, in the order of their places over all texts; see ``SubobjectTokenizer``.
            tokens: Tokens instead of images, in the same order: of a batch, or a list that may hold rows of a ``TokenStore`` too.
            targets: What the model shall answer, one a text; an end-of-sequence token is added. With targets there are labels.
            loss_on: Whether only ``targets`` are labelled, or all ``text``; never image tokens and markers.
            packed: Lay sequences one after the other, with block-diagonal attention, instead of padding each. Without cache only.
            row_length: Length of packed rows, filled by first-fit decreasing; one row holds all if ``None``, without any padding.
            padding_side: ``right`` with labels and when packed, else ``left``, so that ``generate`` continues the text.
            max_tokens: Largest number of tokens of an image that is cut here.

        Returns:
            Tensors for ``R`` rows of up to ``L`` tokens, ``M`` of them of images: ``input_ids``, ``position_ids`` and, unless
            packed, ``attention_mask``, ``(R, L)`` int64; ``vectors`` ``(R, M, D)`` and ``boxes`` ``(R, M, 4)`` float32 if there
            are images; ``labels`` ``(R, L)`` int64 if there are targets.

        Raises:
            ValueError: If images and places do not match, or an image cannot be read.
        """
        texts = [text] if isinstance(text, str) else list(text)
        answers: Sequence[str | None] = [targets] if isinstance(targets, str) else targets or [None] * len(texts)
        if not texts or len(answers) != len(texts):
            raise ValueError(f"{len(answers)} targets for {len(texts)} texts: give one each, and at least one text")
        if images is not None and tokens is not None:
            raise ValueError("give either images or tokens")
        if images is not None:
            tokens = self.image_tokenizer(images, max_tokens=max_tokens)
        one_by_one = list(_one_by_one(tokens))
        owners = self._owners(texts, len(one_by_one))
        sequences = [
            self._splice(one, answer, [len(one_by_one[image].vectors) for image in owned], loss_on)
            for one, answer, owned in zip(texts, answers, owners, strict=True)
        ]
        side = padding_side or ("right" if packed or targets is not None else "left")
        members = bins([len(one.ids) for one in sequences], row_length) if packed else [[one] for one in range(len(sequences))]
        pad_id = self.tokenizer.eos_token_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        rows = lay_out(sequences, members, pad_id, side)
        inputs = {"input_ids": rows.ids, "position_ids": rows.positions}
        if not packed:
            inputs["attention_mask"] = rows.mask
        if targets is not None:
            inputs["labels"] = rows.labels
        if one_by_one:
            images_of_rows = [[image for sequence in row for image in owners[sequence]] for row in members]
            inputs["vectors"] = stack_tokens([one.vectors for one in one_by_one], images_of_rows)
            inputs["boxes"] = stack_tokens([one.boxes for one in one_by_one], images_of_rows)
        return BatchFeature({name: torch.from_numpy(value) for name, value in inputs.items()})

    def check_tokens(self, settings: Mapping[str, Any]) -> None:
        """Log a warning if tokens come from other weights than those that the model was trained on.

        Args:
            settings: Of the tokens: those of a ``SubobjectTokenizer`` or a ``TokenStore``.
        """
        doubt = None if self.trained_on is None else self.trained_on.doubt(settings)
        if doubt is not None:
            logger.warning("%s", doubt)

    def apply_chat_template(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """Write a conversation as text by the tokenizer's chat template.

        Args:
            messages: Dicts with ``role`` and ``content``: a text, or a list of ``{"type": "text", "text": ...}`` and
                ``{"type": "image"}``, which becomes ``<image>``.
            add_generation_prompt: Whether to open the answer.

        Raises:
            ValueError: If the tokenizer has no chat template.
        """
        if self.tokenizer.chat_template is None:
            raise ValueError("the tokenizer has no chat template: set tokenizer.chat_template, or write the text yourself")
        flat = [{**message, "content": _flatten(message["content"])} for message in messages]
        return str(self.tokenizer.apply_chat_template(flat, tokenize=False, add_generation_prompt=add_generation_prompt))

    def split_chat(self, messages: Sequence[Message]) -> tuple[str, str]:
        """Write a conversation that ends with an answer as text and target, for training on the answer.

        Raises:
            ValueError: If there is no chat template, or its answers do not continue its generation prompt.
        """
        whole = self.apply_chat_template(messages)
        text = self.apply_chat_template(messages[:-1], add_generation_prompt=True)
        if not whole.startswith(text):
            raise ValueError(
                "this chat template writes an answer otherwise than after its generation prompt: split the text yourself"
            )
        # The end of the sequence is added to every target; templates that write it too must not double it.
        return text, whole[len(text) :].rstrip().removesuffix(self.tokenizer.eos_token)

    def decode(self, ids: Any) -> str:
        """Return the text of token ids, without special tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def save_pretrained(self, folder: str | Path, push_to_hub: bool = False, **options: Any) -> None:
        """Write the text tokenizer, ``processor_config.json`` and, in ``image_tokenizer``, how images are cut.

        ``processor_config.json`` holds ``prompt`` and, where it is known, ``trained_on``.

        Weights of the image tokenizer that ship with the package or lie on the hub are kept by name; those of other folders
        are copied.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)
        values: dict[str, Any] = {"processor_class": type(self).__name__, "prompt": self.prompt}
        if self.trained_on is not None:
            values["trained_on"] = asdict(self.trained_on)
        with atomic_path(folder / CONFIG_NAME) as partial:
            partial.write_text(json.dumps(values, indent=2) + "\n")
        config = self.image_config
        if config is not None:
            if any(name is not None and Path(name).is_dir() for name in (config.boundary_weights, config.embedder_weights)):
                self.image_tokenizer.save_pretrained(folder / IMAGE_TOKENIZER)
            else:
                with atomic_path(folder / IMAGE_TOKENIZER / "config.json") as partial:
                    values = {"model_type": IMAGE_TOKENIZER_TYPE, **asdict(config)}
                    partial.write_text(json.dumps(values, indent=2) + "\n")
        if push_to_hub:
            self.push_to_hub(options.pop("repo_id", folder.name), **options)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, runtime: str = "auto", device: str = "auto") -> "SubobjectProcessor":
        """Read a folder that ``save_pretrained`` wrote.

        Raises:
            ValueError: If it does not hold a processor.
        """
        folder = Path(folder)
        try:
            values = json.loads((folder / CONFIG_NAME).read_text())
            prompt = str(values["prompt"])
            trained_on = Origin(**values["trained_on"]) if "trained_on" in values else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder} holds no readable {CONFIG_NAME}: give a folder with a saved SubobjectProcessor"
            ) from error
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        images = folder / IMAGE_TOKENIZER
        image_tokenizer = None
        if images.is_dir():
            config = TokenizerConfig.from_json(images / "config.json")
            copied = any((images / str(name)).is_dir() for name in (config.boundary_weights, config.embedder_weights) if name)
            image_tokenizer = SubobjectTokenizer.from_pretrained(images, runtime=runtime, device=device) if copied else config
        processor = cls(tokenizer, image_tokenizer, prompt=prompt, trained_on=trained_on, runtime=runtime, device=device)
        if isinstance(image_tokenizer, SubobjectTokenizer):
            processor.check_tokens(image_tokenizer.settings())
        return processor

    def _owners(self, texts: list[str], images: int) -> list[list[int]]:
        """Return the indices of the images of each text."""
        counts = [text.count(IMAGE_TOKEN) for text in texts]
        if sum(counts) != images:
            raise ValueError(
                f"the texts have {sum(counts)} <image> places, but {images} images were given: write one place an image"
            )
        ends = np.cumsum(counts)
        return [list(range(end - count, end)) for end, count in zip(ends.tolist(), counts, strict=True)]

    def _splice(self, text: str, target: str | None, counts: list[int], loss_on: str) -> Spliced:
        ids = expand(self._encode(text, add_special_tokens=True), counts, self.places)
        answer = np.empty(0, dtype=np.int64)
        if target is not None:
            answer = np.append(self._encode(target, add_special_tokens=False), self.tokenizer.eos_token_id)
        is_target = np.concatenate([np.full(len(ids), loss_on == "text"), np.ones(len(answer), dtype=bool)])
        return label(np.concatenate([ids, answer]), is_target, self.places)

    def _encode(self, text: str, add_special_tokens: bool) -> np.ndarray:
        return np.array(self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"], dtype=np.int64)


def tokenizer_config(source: dict[str, Any]) -> TokenizerConfig:
    """Return the configuration of the image tokenizer that made stored tokens, from the ``source`` of a store.

    Raises:
        ValueError: If the tokens were not cut by a segmenter and embedder of this package.
    """
    known = {field.name for field in fields(TokenizerConfig)}
    values = {name: value for name, value in source.items() if name in known and value is not None}
    return TokenizerConfig(**values)


def _one_by_one(tokens: "Tokens | Sequence[Tokens | ImageTokens] | None") -> "Iterator[ImageTokens]":
    if isinstance(tokens, Tokens):
        yield from tokens
        return
    for one in tokens or ():
        if isinstance(one, Tokens):
            yield from one
        else:
            yield one


def _flatten(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(IMAGE_TOKEN if part["type"] == "image" else part["text"] for part in content)
