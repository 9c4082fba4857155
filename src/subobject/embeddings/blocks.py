"""Transformer blocks of the segment autoencoder: pre-norm, GELU, ``scaled_dot_product_attention``."""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, cat, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

HIDDEN_SCORE = -1e9
"""Added to the attention scores of what must not be seen; its weight is then exactly 0."""


def block_diagonal(owner: Tensor, *, flex: bool | None = None) -> "Tensor | BlockMask":
    """Make the mask by which positions see those of the same owner only.

    Args:
        owner: Owner of each position, ``(B, L)`` integer.
        flex: Whether to make a mask for ``flex_attention``, which skips blocks without a visible pair; None for on CUDA only,
            since elsewhere it is slow.

    Returns:
        A block mask, or scores to add, ``(B, 1, L, L)`` float32.
    """
    if flex is None:
        flex = owner.is_cuda
    if not flex:
        return (owner[:, None, :, None] != owner[:, None, None]).float() * HIDDEN_SCORE
    from torch.nn.attention.flex_attention import create_block_mask

    rows, length = owner.shape
    return create_block_mask(lambda b, h, i, j: owner[b, i] == owner[b, j], rows, None, length, length, device=owner.device)


@cache
def _flex_attention(compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if compiled else flex_attention


class KeyValues:
    """Keys and values of one attention layer, kept between steps of step-by-step decoding."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add ``(B, heads, L, width)`` behind those kept, and return all."""
        self.keys = keys if self.keys is None else cat([self.keys, keys], dim=2)
        self.values = values if self.values is None else cat([self.values, values], dim=2)
        return self.keys, self.values


class Attention(nn.Module):
    """Multi-head attention. Keys have no bias: softmax cancels it, so it would never get a gradient."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        source: Tensor,
        mask: "Tensor | BlockMask | None" = None,
        causal: bool = False,
        cache: KeyValues | None = None,
    ) -> Tensor:
        """Attend from ``x`` ``(B, L, d)`` to ``source`` ``(B, S, d)``.

        Args:
            x: What asks.
            source: What is read.
            mask: Added to the scores, broadcastable to ``(B, heads, L, S)``; or a block mask.
            causal: Whether position ``i`` sees keys ``0 .. i`` only.
            cache: Keys and values of earlier positions; those of ``source`` are added to it.
        """
        keys, values = self._split(self.key(source)), self._split(self.value(source))
        if cache is not None:
            keys, values = cache.append(keys, values)
        return self._attend(x, keys, values, mask, causal)

    def forward_cached(self, x: Tensor, source: Tensor, cache: KeyValues) -> Tensor:
        """Attend to an unchanging source, whose keys and values are computed at the first call only."""
        if cache.keys is None or cache.values is None:
            cache.append(self._split(self.key(source)), self._split(self.value(source)))
            return self.forward_cached(x, source, cache)
        return self._attend(x, cache.keys, cache.values, None, False)

    def _attend(self, x: Tensor, keys: Tensor, values: Tensor, mask: "Tensor | BlockMask | None", causal: bool) -> Tensor:
        queries = self._split(self.query(x))
        if mask is None or isinstance(mask, Tensor):
            mask = None if mask is None else mask.to(queries.dtype)
            y = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal)
        else:
            y = _flex_attention(compiled=queries.is_cuda)(queries, keys, values, block_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.enter = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.gelu(self.enter(x)))


class EncoderBlock(nn.Module):
    """Self-attention and a feed-forward layer."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)

    def forward(self, x: Tensor, mask: "Tensor | BlockMask", tail: int = 0) -> Tensor:
        """Compute ``(B, L, d)``, or only its last ``tail`` positions ``(B, tail, d)``; ``mask`` as in ``Attention``."""
        y = self.norm1(x)
        x = x[:, -tail:] + self.attention(y[:, -tail:], y, mask)
        return x + self.feed_forward(self.norm2(x))


class DecoderBlock(nn.Module):
    """Causal self-attention (optional), cross-attention and a feed-forward layer."""

    def __init__(self, width: int, heads: int, hidden: int, causal: bool):
        super().__init__()
        self.self_norm = nn.LayerNorm(width) if causal else None
        self.self_attention = Attention(width, heads) if causal else None
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)

    def forward(self, x: Tensor, memory: Tensor, cache: tuple[KeyValues, KeyValues] | None = None) -> Tensor:
        """Compute ``(B, L, d)``; with a cache (of itself and of the memory), ``x`` holds the next position only."""
        if self.self_attention is not None and self.self_norm is not None:
            y = self.self_norm(x)
            x = x + self.self_attention(y, y, causal=cache is None, cache=cache and cache[0])
        y = self.norm1(x)
        x = x + (self.attention(y, memory) if cache is None else self.attention.forward_cached(y, memory, cache[1]))
        return x + self.feed_forward(self.norm2(x))
