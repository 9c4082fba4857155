"""The linear autoencoder of patches as a network to train: one matrix, used as it is to encode and transposed to decode.

The loss is least where the rows of the matrix are orthonormal and span the first principal components of the patches (Baldi and
Hornik, *Neural networks and principal component analysis*, 1989), so the components themselves are the best start there is, and
the first ``k`` values of a vector are then the best vector of ``k`` values. Prediction needs no torch: see ``patch.py``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel

from subobject.embeddings.patch import MODEL_TYPE


class LinearAutoencoderConfig(PretrainedConfig):
    """Shape of a ``LinearAutoencoder``.

    Args:
        patch: Pixels a side of a patch, ``p``, at least 1.
        vector: Size of the vector, ``D``, at least 1; beyond ``3 p ** 2`` values nothing is gained.

    Raises:
        ValueError: If a size is below 1.
    """

    model_type = MODEL_TYPE

    def __init__(self, patch: int = 32, vector: int = 256, **kwargs):
        if min(patch, vector) < 1:
            raise ValueError(f"patch is {patch} and vector {vector}: use 1 or more of each")
        self.patch = patch
        self.vector = vector
        super().__init__(**kwargs)


@dataclass
class LinearAutoencoderOutput:
    """``loss``: mean squared error, a scalar. ``vectors``: ``(B, D)``. ``decoded``: ``(B, 3 p ** 2)``."""

    loss: Tensor
    vectors: Tensor
    decoded: Tensor


class LinearAutoencoder(PreTrainedModel):
    """Patches to vectors and back; a patch is its RGB values in [0, 1] in row order, ``(B, 3 p ** 2)``."""

    config_class = LinearAutoencoderConfig
    main_input_name = "patches"

    def __init__(self, config: LinearAutoencoderConfig):
        super().__init__(config)
        values = 3 * config.patch**2
        self.weight = nn.Parameter(torch.empty(config.vector, values))
        self.mean = nn.Parameter(torch.empty(values))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LinearAutoencoder):
            nn.init.orthogonal_(module.weight)
            nn.init.constant_(module.mean, 0.5)

    def encode(self, patches: Tensor) -> Tensor:
        """Return one vector a patch, ``(B, D)``."""
        return F.linear(patches - self.mean, self.weight)

    def decode(self, vectors: Tensor) -> Tensor:
        """Return the patches of vectors, ``(B, 3 p ** 2)``."""
        return vectors @ self.weight + self.mean

    def forward(self, patches: Tensor) -> LinearAutoencoderOutput:
        """Encode, decode and compare."""
        vectors = self.encode(patches)
        decoded = self.decode(vectors)
        return LinearAutoencoderOutput(F.mse_loss(decoded, patches), vectors, decoded)
