"""SeqAE: a sequence-to-sequence autoencoder of segments (arXiv 2402.14327, section 2.2), at any size, with two decoders.

A Transformer encoder reads the pixels of a segment with learnable queries appended; a linear bottleneck maps the query states to
one vector, and its transpose rebuilds them for the decoder to cross-attend to. What the paper leaves open, and how it is settled:

- The width of a row: positions enter as Fourier features of (row, column, h, w), beside the learned table of the paper. The
  decoder knows ``(h, w)`` from the box of the segment.
- Teacher forcing lets an autoregressive decoder copy neighbours instead of reading the vector: in training ``teacher_dropout``
  hides a share of its inputs and ``teacher_noise`` corrupts the rest. Quality is reported from the vector alone.
- 1024 decoding steps are slow: in the ``"parallel"`` decoder each pixel position reads the rebuilt query states by itself.
- Keys have no bias (it cannot matter); normalised pixels are ``(rgb - 0.5) / 0.25``, zero outside the mask.

``cosines`` (off in the published configuration) gives small models a linear start: the ``K x K`` lowest two-dimensional cosine
coefficients of the crop enter through the queries and leave through the rebuilt query states, so that training begins as a cosine
transform and improves on it. ``prefixes`` makes the first values of a vector decode by themselves, by nested dropout (Rippel,
Gelbart and Adams, *Learning ordered representations with nested dropout*, 2014). ``config.json`` tells this network apart by
``model_type``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel

from subobject.embeddings.blocks import HIDDEN_SCORE, DecoderBlock, EncoderBlock, KeyValues, block_diagonal
from subobject.embeddings.positions import NUM_FEATURES, analyse, cosine_basis, opponent_waves, position_features
from subobject.embeddings.sequence import LAYOUT_VERSION

MASK_LOSS = 0.1
"""Weight of the cross-entropy of the mask beside the squared error of the colours (parallel decoder)."""


class SeqAEConfig(PretrainedConfig):
    """Shape of a ``SeqAE``.

    Args:
        context: Largest number of pixels of a segment.
        width: Width of the Transformers (the paper's ``d_model``).
        hidden: Width inside the feed-forward layers.
        heads: Attention heads.
        encoder_layers: Layers of the encoder.
        decoder_layers: Layers of the decoder.
        queries: Learnable queries.
        vector: Size of the vector, ``D``.
        decoder: ``"parallel"``, or ``"autoregressive"`` as published.
        learned_positions: Whether to add the paper's learned table of positions to both inputs.
        cosines: Cosine coefficients an axis that bypass the encoder and the decoder, ``K``; 0 for none, as published.
        cosine_steps: Steps of fitting them to the pixels inside the mask; 1 is the plain transform.
        teacher_dropout: Share of the autoregressive decoder's input pixels hidden in training.
        teacher_noise: Standard deviation of the noise added to those inputs in training, where pixels have one of about 1.
        prefixes: Numbers of first values of a vector that decode by themselves, such as ``(32, 64, 128)``; in training a
            segment keeps one of them, or all values, with equal probability.
        pixel_mean: Subtracted from RGB in [0, 1].
        pixel_std: By which RGB is then divided.
        layout_version: Version of the segment <-> sequence convention that the weights were trained with.

    Raises:
        ValueError: If the widths do not fit each other or the decoder is unknown.
    """

    model_type = "subobject_seqae"

    def __init__(
        self,
        context: int = 256,
        width: int = 160,
        hidden: int = 640,
        heads: int = 5,
        encoder_layers: int = 4,
        decoder_layers: int = 3,
        queries: int = 16,
        vector: int = 256,
        decoder: Literal["parallel", "autoregressive"] = "parallel",
        learned_positions: bool = False,
        cosines: int = 8,
        cosine_steps: int = 1,
        teacher_dropout: float = 0.0,
        teacher_noise: float = 0.0,
        prefixes: Sequence[int] = (),
        pixel_mean: float = 0.5,
        pixel_std: float = 0.25,
        layout_version: int = LAYOUT_VERSION,
        **kwargs,
    ):
        if width % heads:
            raise ValueError(f"width {width} is no multiple of {heads} heads")
        if decoder not in ("parallel", "autoregressive"):
            raise ValueError(f"unknown decoder {decoder!r}: use 'parallel' or 'autoregressive'")
        if cosines and (decoder != "parallel" or cosines**2 % queries or 4 * cosines**2 > queries * width):
            raise ValueError(
                f"cosines {cosines} needs a parallel decoder, and queries {queries} that divide and hold its coefficients"
            )
        if cosine_steps < 1:
            raise ValueError(f"cosine_steps is {cosine_steps}: use 1 or more")
        if any(not 0 < size < vector for size in prefixes):
            raise ValueError(f"prefixes are {list(prefixes)}: use numbers from 1 to {vector - 1}, below the size of the vector")
        self.context = context
        self.width = width
        self.hidden = hidden
        self.heads = heads
        self.encoder_layers = encoder_layers
        self.decoder_layers = decoder_layers
        self.queries = queries
        self.vector = vector
        self.decoder = decoder
        self.learned_positions = learned_positions
        self.cosines = cosines
        self.cosine_steps = cosine_steps
        self.teacher_dropout = teacher_dropout
        self.teacher_noise = teacher_noise
        self.prefixes = list(prefixes)
        self.pixel_mean = pixel_mean
        self.pixel_std = pixel_std
        self.layout_version = layout_version
        super().__init__(**kwargs)

    @classmethod
    def published(cls, **changes) -> "SeqAEConfig":
        """Return the configuration of the paper (section 3.2): 327 M parameters."""
        values: dict[str, Any] = {"context": 1024, "width": 768, "hidden": 4096, "heads": 12, "queries": 16, "vector": 768}
        values |= {
            "encoder_layers": 16,
            "decoder_layers": 16,
            "decoder": "autoregressive",
            "learned_positions": True,
            "cosines": 0,
        }
        return cls(**(values | changes))


@dataclass
class SeqAEOutput:
    """``loss``: scalar. ``vectors``: ``(B, D)``. ``decoded``: normalised RGB and mask (a logit if parallel), ``(B, L, 4)``."""

    loss: Tensor
    vectors: Tensor
    decoded: Tensor


class SeqAE(PreTrainedModel):
    """Segments to vectors and back.

    Inputs are padded sequences as ``embeddings.sequence.pad`` lays them out: ``pixels`` ``(B, L, 4)`` float32 (RGB in [0, 1] and
    the mask) and ``sizes`` ``(B, 2)`` int64 (``h, w`` with ``h * w <= L``); what lies behind ``h * w`` is ignored.
    """

    config_class = SeqAEConfig
    main_input_name = "pixels"

    def __init__(self, config: SeqAEConfig):
        super().__init__(config)
        width, heads, hidden = config.width, config.heads, config.hidden
        autoregressive = config.decoder == "autoregressive"
        self.enter = nn.Linear(4, width)
        self.encoder_positions = nn.Linear(NUM_FEATURES, width)
        self.queries = nn.Parameter(torch.empty(config.queries, width))
        self.encoder = nn.ModuleList(EncoderBlock(width, heads, hidden) for _ in range(config.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.bottleneck = nn.Linear(config.queries * width, config.vector, bias=False)
        self.decoder_positions = nn.Linear(NUM_FEATURES, width)
        self.decoder_enter = nn.Linear(4, width, bias=False) if autoregressive or config.cosines else None
        self.start = nn.Parameter(torch.empty(width)) if autoregressive else None
        self.memory_norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(DecoderBlock(width, heads, hidden, autoregressive) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 4)
        tables = config.learned_positions
        self.encoder_table = nn.Parameter(torch.empty(config.context, width)) if tables else None
        self.decoder_table = nn.Parameter(torch.empty(config.context, width)) if tables else None
        self.lift = nn.Linear(4 * config.cosines**2 // config.queries, width, bias=False) if config.cosines else None
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, EncoderBlock | DecoderBlock):
            # Branches start small, so that deep stacks start close to the identity.
            for name, linear in module.named_modules():
                if name.endswith("out") and isinstance(linear, nn.Linear):
                    linear.weight.mul_((self.config.encoder_layers + self.config.decoder_layers) ** -0.5)
        elif isinstance(module, SeqAE):
            for parameter in (module.queries, module.start, module.encoder_table, module.decoder_table):
                if parameter is not None:
                    nn.init.normal_(parameter, std=0.02)
            nn.init.orthogonal_(module.bottleneck.weight)
            module.head.weight.mul_(0.1)
            if module.lift is not None:
                self._start_as_cosine_transform(module)

    @staticmethod
    def _start_as_cosine_transform(model: "SeqAE") -> None:
        """Let the bottleneck read off the lifted coefficients, what matters most first, and mute the rest of the query states."""
        assert model.lift is not None
        nn.init.orthogonal_(model.lift.weight)
        nn.init.constant_(model.encoder_norm.weight, 0.005)
        model.head.weight.mul_(0.1)
        blocks = torch.block_diag(*[model.lift.weight.T] * model.config.queries)
        waves = opponent_waves(model.config.cosines)[: model.config.vector]
        model.bottleneck.weight[: len(waves)] = waves @ blocks

    def encode(self, pixels: Tensor, sizes: Tensor) -> Tensor:
        """Return one vector a segment, ``(B, D)``."""
        index = torch.arange(pixels.shape[1], device=pixels.device)
        valid = index < sizes.prod(dim=1, keepdim=True)
        inputs = self._normalise(pixels) * valid[..., None]
        x = self.encoder_positions(position_features(sizes, index))
        if self.encoder_table is not None:
            x = x + self.encoder_table[: pixels.shape[1]]
        queries = self.queries.expand(pixels.shape[0], -1, -1)
        lifted = None
        if self.lift is not None:
            inputs, coefficients = analyse(inputs, sizes, self.config.cosines, self.config.cosine_steps)
            lifted = self.lift(coefficients.flatten(1).unflatten(1, (self.config.queries, -1)))
            queries = queries + lifted
        x = torch.cat([x + self.enter(inputs), queries.to(x.dtype)], dim=1)
        # A sum, because ONNX turns a boolean mask into three passes over all scores.
        mask = F.pad((~valid).float() * HIDDEN_SCORE, (0, self.config.queries))[:, None, None]
        for block in self.encoder[:-1]:
            x = block(x, mask)
        states = self.encoder_norm(self.encoder[-1](x, mask, tail=self.config.queries))
        if lifted is not None:
            states = states + lifted
        return self.bottleneck(states.flatten(1))

    def encode_rows(self, pixels: Tensor, index: Tensor, segment: Tensor, sizes: Tensor) -> Tensor:
        """Encode segments that were laid behind each other in rows by ``ragged.lay_out``, without padding each.

        Args:
            pixels: RGB in [0, 1] and the mask, ``(R, L, 4)`` float32.
            index: Number of the cell in its segment, and above those its queries, ``(R, L)`` int64.
            segment: Which segment a position belongs to, ``(R, L)`` int64; -1 behind the end of a row.
            sizes: Crop sizes ``(h, w)``, ``(N, 2)`` int64.

        Returns:
            The same vectors as ``encode``, up to rounding, ``(N, D)``.
        """
        areas = sizes.prod(dim=1)
        query = index - areas[segment]
        is_query, is_cell = (query >= 0) & (segment >= 0), (query < 0) & (segment >= 0)
        query, cell = query.clamp(min=0), index * is_cell
        inputs = self._normalise(pixels)
        queries = self.queries[query]
        lifted = None
        if self.lift is not None:
            padded = inputs.new_zeros(len(sizes), int(areas.max()), 4)
            padded[segment[is_cell], cell[is_cell]] = inputs[is_cell]
            residual, coefficients = analyse(padded, sizes, self.config.cosines, self.config.cosine_steps)
            lifted = self.lift(coefficients.flatten(1).unflatten(1, (self.config.queries, -1)))
            inputs, queries = residual[segment, cell], queries + lifted[segment, query]
        positions = self.encoder_positions(position_features(sizes[segment].flatten(0, 1), cell.flatten()[:, None]))
        x = positions.view(*index.shape, -1) + self.enter(inputs)
        if self.encoder_table is not None:
            x = x + self.encoder_table[cell]
        x = torch.where(is_query[..., None], queries.to(x.dtype), x)
        mask = block_diagonal(segment)
        for block in self.encoder:
            x = block(x, mask)
        states = x.new_empty(len(sizes), self.config.queries, x.shape[2])
        states[segment[is_query], query[is_query]] = self.encoder_norm(x[is_query])
        if lifted is not None:
            states = states + lifted
        return self.bottleneck(states.flatten(1))

    def rebuild(self, vectors: Tensor) -> Tensor:
        """Return the query states of vectors or of their first values, ``(B, queries, width)``."""
        return F.linear(vectors, self.bottleneck.weight[: vectors.shape[1]].T).unflatten(1, (self.config.queries, -1))

    def decode_parallel(self, vectors: Tensor, sizes: Tensor, index: Tensor) -> Tensor:
        """Return normalised RGB and mask logits at the cells ``index`` ``(L,)`` int64 of every crop, ``(B, L, 4)``."""
        states = self.rebuild(vectors)
        x = self._decoder_positions(sizes, index)
        coarse = None
        if self.lift is not None and self.decoder_enter is not None:
            coefficients = F.linear(states, self.lift.weight.T).flatten(1).unflatten(1, (self.config.cosines**2, 4))
            coarse = cosine_basis(sizes, index, self.config.cosines) @ coefficients
            x = x + self.decoder_enter(coarse)
        memory = self.memory_norm(states)
        for block in self.decoder:
            x = block(x, memory)
        decoded = self.head(self.decoder_norm(x))
        if coarse is None:
            return decoded
        # A mask of 0 .. 1 becomes a logit of -5 .. 5.
        return decoded + torch.cat([coarse[..., :3], 10 * coarse[..., 3:] - 5], dim=2)

    def decode_teacher_forced(self, vectors: Tensor, sizes: Tensor, inputs: Tensor) -> Tensor:
        """Predict each pixel from the vector and the true pixels before it.

        Args:
            vectors: ``(B, D)``.
            sizes: ``(B, 2)`` int64.
            inputs: Normalised pixels, ``(B, L, 4)``.
        """
        assert self.decoder_enter is not None
        assert self.start is not None
        index = torch.arange(inputs.shape[1], device=inputs.device)
        before = self.decoder_enter(self._corrupt(inputs[:, :-1]) if self.training else inputs[:, :-1])
        before = torch.cat([self.start.expand(len(inputs), 1, -1).to(before.dtype), before], dim=1)
        x = self._decoder_positions(sizes, index) + before
        memory = self.memory_norm(self.rebuild(vectors))
        for block in self.decoder:
            x = block(x, memory)
        return self.head(self.decoder_norm(x))

    def decode(self, vectors: Tensor, sizes: Tensor) -> Tensor:
        """Reconstruct segments from their vectors alone.

        Args:
            vectors: ``(B, D)`` float32, or their first values.
            sizes: Crop sizes ``(h, w)``, ``(B, 2)`` int64.

        Returns:
            RGB in [0, 1] and mask probabilities, ``(B, L, 4)``, with ``L`` the longest ``h * w``; what lies behind ``h * w``
            means nothing.
        """
        length = int(sizes.prod(dim=1).max())
        if self.config.decoder == "autoregressive":
            return self.finish(self._generate(vectors, sizes, length))
        return self.finish(self.decode_parallel(vectors, sizes, torch.arange(length, device=vectors.device)))

    def finish(self, decoded: Tensor) -> Tensor:
        """Turn the decoder's raw output into RGB in [0, 1] and mask probabilities, ``(B, L, 4)``."""
        colour = (decoded[..., :3] * self.config.pixel_std + self.config.pixel_mean).clamp(0, 1)
        mask = decoded[..., 3:].sigmoid() if self.config.decoder == "parallel" else decoded[..., 3:].clamp(0, 1)
        return torch.cat([colour, mask], dim=2)

    def forward(self, pixels: Tensor, sizes: Tensor) -> SeqAEOutput:
        """Encode, decode and compare.

        The autoregressive loss is the published one: the mean squared error of normalised RGB and mask over all pixels. The
        parallel one is the mean squared error of normalised RGB inside the mask plus ``MASK_LOSS`` x the cross-entropy of the
        mask.
        """
        index = torch.arange(pixels.shape[1], device=pixels.device)
        valid = (index < sizes.prod(dim=1, keepdim=True)).float()[..., None]
        target = self._normalise(pixels)
        vectors = self.encode(pixels, sizes)
        kept = self._nested_dropout(vectors) if self.training and self.config.prefixes else vectors
        if self.config.decoder == "autoregressive":
            decoded = self.decode_teacher_forced(kept, sizes, target).float()
            loss = ((decoded - target).square() * valid).sum() / (4 * valid.sum())
        else:
            decoded = self.decode_parallel(kept, sizes, index).float()
            mask = target[..., 3:]
            weight = mask * valid
            loss = ((decoded[..., :3] - target[..., :3]).square() * weight).sum() / (3 * weight.sum())
            entropy = F.binary_cross_entropy_with_logits(decoded[..., 3:], mask, weight=valid, reduction="sum") / valid.sum()
            loss = loss + MASK_LOSS * entropy
        return SeqAEOutput(loss=loss, vectors=vectors, decoded=decoded)

    def _corrupt(self, inputs: Tensor) -> Tensor:
        """Add noise to the inputs of a teacher-forced decoder and hide a share of them."""
        if self.config.teacher_noise:
            inputs = inputs + self.config.teacher_noise * torch.randn_like(inputs)
        if self.config.teacher_dropout:
            inputs = inputs * (torch.rand(inputs.shape[:2], device=inputs.device) >= self.config.teacher_dropout)[..., None]
        return inputs

    def _nested_dropout(self, vectors: Tensor) -> Tensor:
        """Keep all or one of the prefixes of each vector, at random."""
        sizes = torch.tensor([*self.config.prefixes, vectors.shape[1]], device=vectors.device)
        kept = sizes[torch.randint(len(sizes), (len(vectors), 1), device=vectors.device)]
        return vectors * (torch.arange(vectors.shape[1], device=vectors.device) < kept)

    def _normalise(self, pixels: Tensor) -> Tensor:
        mask = pixels[..., 3:]
        colour = (pixels[..., :3] - self.config.pixel_mean) / self.config.pixel_std
        return torch.cat([colour * (mask > 0), mask], dim=2)

    def _decoder_positions(self, sizes: Tensor, index: Tensor) -> Tensor:
        x = self.decoder_positions(position_features(sizes, index))
        return x if self.decoder_table is None else x + self.decoder_table[index]

    def _generate(self, vectors: Tensor, sizes: Tensor, length: int) -> Tensor:
        assert self.decoder_enter is not None
        assert self.start is not None
        positions = self._decoder_positions(sizes, torch.arange(length, device=vectors.device))
        memory = self.memory_norm(self.rebuild(vectors))
        caches = [(KeyValues(), KeyValues()) for _ in self.decoder]
        before = self.start.expand(len(vectors), 1, -1)
        steps = []
        for step in range(length):
            x = positions[:, step : step + 1] + before
            for block, cache in zip(self.decoder, caches, strict=True):
                x = block(x, memory, cache)
            steps.append(self.head(self.decoder_norm(x)))
            before = self.decoder_enter(steps[-1])
        return torch.cat(steps, dim=1)
