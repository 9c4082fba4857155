"""``SubobjectConfig``: shape of a language model that reads subobjects."""

from typing import Any, Literal

from transformers import AutoConfig, PretrainedConfig

from subobject.language.projector import BOX_FEATURES, PROJECTORS
from subobject.language.splice import Places
from subobject.registry import lookup


class SubobjectConfig(PretrainedConfig):
    """Shape of a ``SubobjectForCausalLM``.

    Args:
        text_config: Configuration of the language model, which it is told apart by; a dict needs its ``model_type``.
        vector_size: Size of a token's vector, ``D``.
        image_token_id: Id of ``<image>``.
        soi_token_id: Id of ``<SOI>``.
        eoi_token_id: Id of ``<EOI>``.
        projector: Member of ``projector.PROJECTORS``; ``linear`` as published.
        projector_hidden: Hidden width of an MLP or SwiGLU projector; the width of the language model if ``None``.
        box_features: Member of ``projector.BOX_FEATURES``; ``linear`` as published.
        frequencies: Frequencies of Fourier box features.
        vector_noise: Standard deviation of the noise added in training to standardised vectors, whose values have one of 1;
            none as published.
        box_jitter: Largest shift, as a share of the image, and largest relative change of size that the token boxes of a row
            get in training, all alike; below 1, none as published.
        image_attention: ``causal`` as published, or ``full``: tokens of one image see each other in both directions.
        language_model: Folder or hub id that the language model came from, which an adapter saved apart is loaded onto.

    Raises:
        ValueError: If an option is unknown.
    """

    model_type = "subobject"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012 - as transformers declares it

    def __init__(
        self,
        text_config: PretrainedConfig | dict[str, Any] | None = None,
        vector_size: int = 256,
        image_token_id: int = 0,
        soi_token_id: int = 1,
        eoi_token_id: int = 2,
        projector: str = "linear",
        projector_hidden: int | None = None,
        box_features: str = "linear",
        frequencies: int = 8,
        vector_noise: float = 0.0,
        box_jitter: float = 0.0,
        image_attention: Literal["causal", "full"] = "causal",
        language_model: str | None = None,
        **kwargs,
    ):
        lookup(PROJECTORS, projector, "projector")
        lookup(BOX_FEATURES, box_features, "box feature")
        if vector_noise < 0:
            raise ValueError(f"vector_noise is {vector_noise}: use 0 or more")
        if not 0 <= box_jitter < 1:
            raise ValueError(f"box_jitter is {box_jitter}: use 0 or more, below 1")
        if image_attention not in ("causal", "full"):
            raise ValueError(f"unknown image_attention {image_attention!r}: use 'causal' or 'full'")
        if text_config is None:
            text_config = {"model_type": "llama"}
        self.text_config = AutoConfig.for_model(**text_config) if isinstance(text_config, dict) else text_config
        self.vector_size = vector_size
        self.image_token_id = image_token_id
        self.soi_token_id = soi_token_id
        self.eoi_token_id = eoi_token_id
        self.projector = projector
        self.projector_hidden = projector_hidden
        self.box_features = box_features
        self.frequencies = frequencies
        self.vector_noise = vector_noise
        self.box_jitter = box_jitter
        self.image_attention = image_attention
        self.language_model = language_model
        super().__init__(**kwargs)

    @property
    def places(self) -> Places:
        """Ids of the three added tokens."""
        return Places(self.image_token_id, self.soi_token_id, self.eoi_token_id)


# With this, the auto classes of transformers know a saved model, and the tokenizer beside it, by its ``model_type``.
AutoConfig.register(SubobjectConfig.model_type, SubobjectConfig, exist_ok=True)
