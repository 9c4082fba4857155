"""Tiny language models of many families, a small vocabulary, and made-up tokens."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoConfig, PretrainedConfig  # noqa: E402

from subobject.language.modeling import SubobjectForCausalLM  # noqa: E402
from subobject.language.processing import SubobjectProcessor  # noqa: E402
from subobject.language.words import word_tokenizer  # noqa: E402
from subobject.structures import MergeTree, Segmentation, Tokens  # noqa: E402

VECTOR = 6
TEXTS = ["a red cube and a blue sphere.", "2 objects: small", "start of image, end of image"]

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": 40,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "phi": {},
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "gpt_neox": {},
    "smollm3": {},
    "mistral": {"sliding_window": 4},
    "gemma2": {"head_dim": 8, "sliding_window": 4},
    "phi3": {},
    "gpt2": {"n_inner": 48},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "falcon": {"alibi": False},
}
"""What differs from ``SHAPE``: fields that a family calls otherwise, or that its attention needs."""


def family_config(model_type: str) -> PretrainedConfig:
    return AutoConfig.for_model(model_type, **SHAPE | FAMILIES[model_type])


@pytest.fixture
def processor() -> SubobjectProcessor:
    return SubobjectProcessor(word_tokenizer(TEXTS, max_length=128))


@pytest.fixture
def make_model(processor) -> Callable[..., SubobjectForCausalLM]:
    """Make a tiny model of a family around the processor's tokenizer."""

    def make(model_type: str = "llama", implementation: str | None = None, **options: Any) -> SubobjectForCausalLM:
        torch.manual_seed(0)
        config = family_config(model_type)
        if implementation is not None:
            config._attn_implementation = implementation
        return SubobjectForCausalLM.from_language_model(config, processor.tokenizer, vector_size=VECTOR, **options).eval()

    return make


def make_tokens(count: int, seed: int = 0) -> Tokens:
    """Return the tokens of one image: columns of a picture with random vectors."""
    parents = np.array(
        [0] if count == 1 else [count, *range(count, 2 * count - 1), *range(count + 1, 2 * count - 1), 2 * count - 2]
    )
    strengths = np.concatenate([np.zeros(count), np.full(count - 1, 0.5)])
    tree = MergeTree(parents.astype(np.int32), strengths.astype(np.float32))
    segmentation = Segmentation.from_labels(np.arange(count, dtype=np.int32)[None].repeat(2, axis=0), tree)
    vectors = np.random.default_rng(seed).normal(size=(count, VECTOR)).astype(np.float32)
    return Tokens.from_segmentations([vectors], [segmentation])
