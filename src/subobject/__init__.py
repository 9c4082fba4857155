"""Subobject-level image tokenization: an image becomes a short sequence of tokens, one for each segment with a meaning.

    image -> boundary map -> segmentation (label map + merge tree) -> one vector per segment -> tokens

Folders are named after what they produce and stand in the order in which data flows: ``boundaries``, ``segments``,
``embeddings``, ``tokens``. Importing the package loads none of the heavy ones it uses.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subobject.images import ImageError, read_image
    from subobject.language.modeling import SubobjectForCausalLM
    from subobject.language.processing import SubobjectProcessor
    from subobject.segments.pipeline import ImageSegmenter, segment
    from subobject.structures import Boundaries, MergeTree, Segmentation, Tokens
    from subobject.tokens.store import TokenStore, TokenWriter
    from subobject.tokens.tokenizer import SubobjectTokenizer

__version__ = "0.1.0"

_PUBLIC = {
    "Boundaries": "subobject.structures",
    "ImageError": "subobject.images",
    "ImageSegmenter": "subobject.segments.pipeline",
    "MergeTree": "subobject.structures",
    "Segmentation": "subobject.structures",
    "SubobjectForCausalLM": "subobject.language.modeling",
    "SubobjectProcessor": "subobject.language.processing",
    "SubobjectTokenizer": "subobject.tokens.tokenizer",
    "TokenStore": "subobject.tokens.store",
    "TokenWriter": "subobject.tokens.store",
    "Tokens": "subobject.structures",
    "read_image": "subobject.images",
    "segment": "subobject.segments.pipeline",
}

__all__ = [
    "Boundaries",
    "ImageError",
    "ImageSegmenter",
    "MergeTree",
    "Segmentation",
    "SubobjectForCausalLM",
    "SubobjectProcessor",
    "SubobjectTokenizer",
    "TokenStore",
    "TokenWriter",
    "Tokens",
    "read_image",
    "segment",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'subobject' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
