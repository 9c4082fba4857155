"""What a language model was trained on: kept with it, so that it can say so, and notice tokens that it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NETWORKS = {"boundary_sha256": "boundary network", "embedder_sha256": "embedder"}


@dataclass(frozen=True)
class Origin:
    """What a language model was trained on.

    Attributes:
        pictures: The pictures, in words and in the plural.
        boundary_sha256: ``weights.fingerprint`` of the boundary network that cut them; None without one.
        embedder_sha256: ``weights.fingerprint`` of the embedder; None if it has no weights.

    Example:
        >>> origin = Origin.of_tokens("12 drawings", {"boundary_sha256": "a1", "embedder_sha256": None})
        >>> origin.notice("my-captioner")
        'my-captioner was trained on 12 drawings and on nothing else: what it says of other pictures is wrong'
        >>> origin.doubt({"boundary_sha256": "a1", "embedder_sha256": None}) is None
        True
    """

    pictures: str
    boundary_sha256: str | None = None
    embedder_sha256: str | None = None

    @classmethod
    def of_tokens(cls, pictures: str, settings: Mapping[str, Any]) -> "Origin":
        """Say what a model is trained on, by the settings of a ``SubobjectTokenizer`` or ``TokenStore``."""
        return cls(pictures, **{name: settings.get(name) for name in _NETWORKS})

    def notice(self, name: str) -> str:
        """Return one sentence that says for which pictures the model of this name is made."""
        return f"{name} was trained on {self.pictures} and on nothing else: what it says of other pictures is wrong"

    def doubt(self, settings: Mapping[str, Any]) -> str | None:
        """Return one sentence if tokens of these settings come from other weights than those of the training, else None.

        Settings that do not name their weights raise no doubt.
        """
        others = [what for name, what in _NETWORKS.items() if name in settings and settings[name] != getattr(self, name)]
        if not others:
            return None
        return (
            f"the tokens come from another {' and '.join(others)} than those that the language model was trained on (the SHA-256 "
            "differs), so that its answers may be wrong: use the weights of the training, or train it anew"
        )
