"""``Captioner``: a saved model and its processor, from an image to a text within the context of the language model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from subobject import weights
from subobject.language.adapters import load
from subobject.language.processing import IMAGE_TOKEN, SubobjectProcessor
from subobject.runtime import torch_device
from subobject.structures import Tokens
from subobject.timing import Clock

DEFAULT = "captioner"


@dataclass(frozen=True)
class Description:
    """What a captioner says of an image, and the number of tokens that it read of it."""

    text: str
    tokens: int


class Captioner:
    """Describes images; ``from_pretrained`` makes one.

    Attributes:
        model: A ``SubobjectForCausalLM`` in evaluation mode.
        processor: Its processor, which holds the prompt and cuts images.
        name: What it is called in messages.
    """

    def __init__(self, model: Any, processor: SubobjectProcessor, name: str = DEFAULT):
        self.model = model
        self.processor = processor
        self.name = name

    @classmethod
    def from_pretrained(cls, name: str | Path = DEFAULT, *, runtime: str = "auto", device: str = "auto") -> "Captioner":
        """Load a captioner.

        Args:
            name: A release, by default that of captioners, or a folder or hub id with a saved ``SubobjectForCausalLM`` or adapter
                and its processor.
            runtime: What runs the networks that cut images.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

        Raises:
            ValueError: If something is missing; the message says what to do.
        """
        folder = weights.resolve(name, "captioner")
        processor = SubobjectProcessor.from_pretrained(folder, runtime=runtime, device=device)
        shown = folder.name if folder.parent == weights.ASSETS else str(name)
        return cls(load(folder).to(torch_device(device)), processor, shown)

    def prepare(self) -> str | None:
        """Load what cuts images, so that the first image does not wait for it, nor fails where none could be described.

        Returns:
            One sentence that says for which pictures the captioner is made; None if it is not known.

        Raises:
            ValueError: If its weights are missing, or not even one image token fits the context.
        """
        self.processor.image_tokenizer  # noqa: B018 - loaded at its first use
        self.budget()
        origin = self.processor.trained_on
        return None if origin is None else origin.notice(self.name)

    def budget(self) -> int | None:
        """Return the largest number of image tokens that fits the context beside prompt and answer; None without a limit.

        Raises:
            ValueError: If not even one fits.
        """
        context = getattr(self.model.config.text_config, "max_position_embeddings", None)
        if context is None:
            return None
        around = self.processor.prompt.replace(IMAGE_TOKEN, "")
        prompt = len(self.processor.tokenizer(around)["input_ids"]) + 2
        left = context - prompt - self._answer_length()
        if left < 1:
            raise ValueError(f"the context of {context} tokens has no room for an image: use another model")
        return left

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray, *, max_tokens: int | None = None, clock: Clock | None = None) -> Description:
        """Describe an image.

        Args:
            pixels: ``(H, W, 3)`` uint8 RGB.
            max_tokens: Largest number of tokens to read, by default that of training; regions merge to meet it. More than the
                context holds are never read.
            clock: Adds up the seconds of cutting (``boundaries``, ``segments``), ``embeddings`` and ``text``.

        Raises:
            ValueError: If ``max_tokens`` is below 1.
        """
        clock = clock or Clock()
        tokens = self.tokens(pixels, max_tokens=max_tokens, clock=clock)
        with clock.measure("text"):
            inputs = self.processor(self.processor.prompt, tokens=tokens).to(self.model.device)
            ids = self.model.generate(**inputs, do_sample=False, max_new_tokens=self._answer_length())
            text = self.processor.decode(ids[0, inputs["input_ids"].shape[1] :])
        return Description(text.strip(), tokens.num_tokens)

    def tokens(self, pixels: np.ndarray, *, max_tokens: int | None = None, clock: Clock | None = None) -> Tokens:
        """Cut an image as its description needs it; arguments and errors as in a call."""
        clock = clock or Clock()
        cutter = self.processor.image_tokenizer
        limits = [
            one for one in (cutter.config.max_tokens if max_tokens is None else max_tokens, self.budget()) if one is not None
        ]
        segmentation = cutter.segment(pixels, max_tokens=min(limits), threshold=cutter.config.threshold, clock=clock)
        with clock.measure("embeddings"):
            return cutter.embed([pixels], [segmentation])

    def _answer_length(self) -> int:
        return self.model.generation_config.max_new_tokens or 128
