"""``SubobjectForCausalLM``: any causal language model of transformers, reading subobject tokens (arXiv 2402.14327, section 3.3).

The language model stays as it is. Three ids are added to its tokenizer: ``<image>``, the place of an image token, and ``<SOI>``
and ``<EOI>`` around the tokens of an image. At these ids its embeddings are replaced by projected vectors and boxes, and by two
trained marker embeddings; they are never generated and never a target of the loss. So everything that is trained beside the
language model lies in ``projector`` and ``markers``.
"""

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.masking_utils import create_masks_for_generate
from transformers.modeling_outputs import CausalLMOutputWithPast

from subobject.language.base import Initialisation, generation_config, grow_vocabulary, marker_embeddings, open_language_model
from subobject.language.configuration import SubobjectConfig
from subobject.language.projector import TokenProjector
from subobject.language.splice import IGNORED, find_places


class SubobjectForCausalLM(PreTrainedModel, GenerationMixin):
    """A causal language model that reads text with spliced image tokens; ``SubobjectProcessor`` makes its inputs.

    ``from_language_model`` starts from a language model; ``from_pretrained``, ``save_pretrained``, ``push_to_hub`` and
    ``generate`` are those of transformers.
    """

    config_class = SubobjectConfig
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # What the language model inside does not support, it refuses itself.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012 - as transformers declares it

    def __init__(self, config: SubobjectConfig):
        super().__init__(config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.projector = self._make_projector()
        self.markers = nn.Embedding(2, config.text_config.hidden_size)
        self.post_init()

    def _make_projector(self) -> TokenProjector:
        config, width = self.config, self.config.text_config.hidden_size
        hidden = config.projector_hidden or width
        return TokenProjector(
            config.vector_size,
            width,
            config.projector,
            hidden,
            config.box_features,
            config.frequencies,
            config.vector_noise,
            config.box_jitter,
        )

    @classmethod
    def from_language_model(
        cls,
        source: "str | PretrainedConfig | PreTrainedModel",
        tokenizer: Any,
        *,
        vector_size: int,
        initialisation: Initialisation = "mean",
        dtype: "torch.dtype | None" = None,
        **options: Any,
    ) -> "SubobjectForCausalLM":
        """Put a projector and markers around a language model.

        Args:
            source: A causal language model: a folder or hub id with safetensors, a configuration (random weights), or a model.
            tokenizer: The language model's tokenizer, with the tokens that ``SubobjectProcessor`` adds.
            vector_size: Size of a token's vector, ``D``.
            initialisation: How the embeddings of ``<SOI>`` and ``<EOI>`` start: the ``mean`` of the vocabulary, drawn from a
                ``normal`` distribution as wide as the vocabulary, or the mean of a ``text`` that says what they are.
            dtype: Type of the weights; that of the source if ``None``.
            **options: Other fields of ``SubobjectConfig``.

        Raises:
            ValueError: If an option is unknown, or the language model cannot be loaded; no remote code is run.
        """
        language_model, name = open_language_model(source, dtype)
        grow_vocabulary(language_model, len(tokenizer))
        places = find_places(tokenizer)
        config = SubobjectConfig(
            text_config=copy.deepcopy(language_model.config),
            vector_size=vector_size,
            image_token_id=places.image,
            soi_token_id=places.soi,
            eoi_token_id=places.eoi,
            language_model=name,
            **options,
        )
        with torch.device("meta"):
            model = cls(config)
        table = language_model.get_input_embeddings().weight.detach()
        model.language_model = language_model
        model.projector = model._make_projector().to(table.device)
        model.projector.reset(std=float(table.float().std()))
        model.markers = nn.Embedding.from_pretrained(marker_embeddings(table.float(), tokenizer, initialisation), freeze=False)
        model.projector.to(table.dtype)
        model.markers.to(table.dtype)
        model.generation_config = generation_config(language_model, tokenizer, places)
        model.tie_weights()
        return model

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        std = getattr(self.config.text_config, "initializer_range", 0.02)
        if isinstance(module, TokenProjector):
            module.reset(std)
        elif module is self.markers:
            nn.init.normal_(module.weight, std=std)

    def embed(self, input_ids: Tensor, vectors: Tensor | None = None, boxes: Tensor | None = None) -> Tensor:
        """Return the embeddings of a spliced text, ``(B, L, width)``.

        Arguments are those of ``forward``.

        Raises:
            ValueError: If a row has more image places than vectors, or vectors have another size than the model reads.
        """
        embeddings = self.get_input_embeddings()(input_ids)
        markers = self.markers(torch.arange(2, device=input_ids.device)).to(embeddings.dtype)
        for marker, token_id in zip(markers, self.config.places[1:], strict=True):
            embeddings = torch.where((input_ids == token_id)[..., None], marker, embeddings)
        if vectors is None or boxes is None:
            return embeddings
        if vectors.shape[-1] != self.config.vector_size:
            raise ValueError(
                f"the vectors have {vectors.shape[-1]} values, but this model reads {self.config.vector_size}: "
                "use the embedder that it was trained with"
            )
        is_image = input_ids == self.config.image_token_id
        rank = is_image.cumsum(dim=1)
        needed, given = int(rank[:, -1].max()), vectors.shape[1]
        if needed > given:
            raise ValueError(f"a row has {needed} image places, but only {given} vectors: give the vectors of all its images")
        if given == 0:
            return embeddings
        projected = self.projector(vectors, boxes).to(embeddings.dtype)
        index = (rank - 1).clamp(min=0)[..., None].expand(-1, -1, projected.shape[-1])
        return torch.where(is_image[..., None], projected.gather(1, index), embeddings)

    def forward(
        self,
        input_ids: Tensor | None = None,
        vectors: Tensor | None = None,
        boxes: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Predict the next token everywhere.

        Args:
            input_ids: Spliced token ids, ``(B, L)`` int64.
            vectors: Vectors of a row's image tokens in the order of their places, ``(B, M, D)``; what lies behind the last place
                is ignored.
            boxes: Token boxes ``x, y, w, h`` in [0, 1], ``(B, M, 4)``.
            attention_mask: 1 for tokens and 0 for padding, ``(B, L)``. Without it and without a cache, rows are packed: a
                sequence starts wherever ``position_ids`` starts again, and attention is block-diagonal.
            position_ids: ``(B, L)`` int64.
            past_key_values: Cache of earlier positions.
            inputs_embeds: Embeddings instead of ``input_ids``, ``(B, L, width)``.
            labels: Targets, ``(B, L)`` int64, ``-100`` for none. Image tokens and markers never count, whatever they hold.
            use_cache: Whether to return a cache; not by default.
            logits_to_keep: As in transformers: compute only the last so many logits.
            **kwargs: Passed to the language model and the loss.

        Returns:
            ``loss`` (mean cross-entropy over the targets), ``logits`` ``(B, L, V)`` and ``past_key_values``.

        Raises:
            ValueError: If neither or both of ``input_ids`` and ``inputs_embeds`` are given, or vectors are missing.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if input_ids is not None:
            inputs_embeds = self.embed(input_ids, vectors, boxes)
            attention_mask = self._mask(input_ids, inputs_embeds, attention_mask, position_ids, past_key_values)
            if labels is not None:
                labels = labels.masked_fill(torch.isin(input_ids, input_ids.new_tensor(self.config.places)), IGNORED)
        items = kwargs.pop("num_items_in_batch", None)
        output = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            # A cache, even an empty one, would hide from the language model that rows are packed.
            use_cache=bool(use_cache),
            **self._accepted(position_ids=position_ids, logits_to_keep=logits_to_keep),
            **(kwargs | {"return_dict": True}),
        )
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=output.logits, labels=labels, vocab_size=output.logits.shape[-1], num_items_in_batch=items
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=output.logits,
            past_key_values=output.get("past_key_values"),
            hidden_states=output.get("hidden_states"),
            attentions=output.get("attentions"),
        )

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Give the vectors to the first step only: later ones find the image in the cache."""
        inputs = super().prepare_inputs_for_generation(*args, **kwargs)  # type: ignore[misc]
        if kwargs.get("use_cache", True) and not kwargs.get("is_first_iteration", False):
            inputs["vectors"] = inputs["boxes"] = None
        return inputs

    def _accepted(self, **optional: Any) -> dict[str, Any]:
        """Leave out what the language model's forward does not know: ALiBi needs no ``position_ids``, for one."""
        known = inspect.signature(self.language_model.forward).parameters
        return {name: value for name, value in optional.items() if name in known}

    def _mask(self, input_ids: Tensor, embeddings: Tensor, mask: Tensor | None, position_ids: Tensor | None, cache: Any) -> Any:
        """Return the attention mask for packed rows, and for images that are seen in both directions; else ``mask`` itself.

        The mask is ``(B, 1, L, L)``, or one a kind of layer where there are several (sliding windows).
        """
        packed = mask is None and cache is None and position_ids is not None
        # Later steps of generation are text, which sees all before it.
        full = self.config.image_attention == "full" and (cache is None or cache.get_seq_length() == 0)
        if not packed and not full:
            return mask
        config = self.language_model.config
        if "flash" in (config._attn_implementation or ""):
            if full:
                raise ValueError("flash attention knows no mask for image_attention 'full': use attn_implementation 'sdpa'")
            return None  # It finds the sequences of a row by their positions.
        if not self._accepted(position_ids=position_ids):
            raise ValueError(f"{config.model_type} takes no positions and no such mask: pad, and use image_attention 'causal'")
        blocks = None
        if full:
            is_image = input_ids == self.config.image_token_id
            starts = is_image & ~nn.functional.pad(is_image, (1, 0))[:, :-1]
            blocks = torch.where(is_image, starts.cumsum(dim=1), -1)
        return create_masks_for_generate(
            config=config,
            inputs_embeds=embeddings,
            attention_mask=mask,
            past_key_values=cache,
            position_ids=position_ids,
            block_sequence_ids=blocks,
        )


# ``AutoModelForCausalLM`` reads a saved model too.
AutoModelForCausalLM.register(SubobjectConfig, SubobjectForCausalLM, exist_ok=True)
