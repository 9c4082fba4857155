"""Number formats of stored vectors: float32 to codes and back, with one scale a token where the format needs it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from subobject.registry import lookup


@dataclass(frozen=True)
class VectorFormat:
    """How the values of a vector are written.

    Attributes:
        name: Key of ``FORMATS``.
        codes: Type of the codes in a file.
        limit: Largest magnitude of a code's value. With a scale, the largest value of a token becomes this.
        scaled: Whether each token has a scale, so that a value is its code times the scale.
        to_codes: float32 to codes; magnitudes are at most ``limit``.
        to_values: The inverse, float32.
    """

    name: str
    codes: np.dtype
    limit: float
    scaled: bool
    to_codes: Callable[[np.ndarray], np.ndarray]
    to_values: Callable[[np.ndarray], np.ndarray]

    def encode(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Write vectors as codes.

        Args:
            vectors: ``(N, D)`` float32.

        Returns:
            Codes ``(N, D)`` of type ``codes``, and scales ``(N,)`` float32, or None where the format has none.

        Raises:
            ValueError: If a value is not finite, or beyond the range of the format.
        """
        self.check(vectors)
        if not self.scaled:
            return self.to_codes(vectors), None
        scales = (np.abs(vectors).max(axis=1, initial=0) / self.limit).astype(np.float32)
        # A vector of zeros is written as zeros. Rounding of the scale may take the largest value a little beyond the limit.
        scaled = vectors / np.where(scales > 0, scales, np.inf).astype(np.float32)[:, None]
        return self.to_codes(np.clip(scaled, -self.limit, self.limit)), scales

    def check(self, vectors: np.ndarray) -> None:
        """Refuse vectors that the format cannot hold.

        Raises:
            ValueError: If a value is not finite, or beyond the range of the format.
        """
        largest = np.abs(vectors).max(initial=0)
        if not np.isfinite(largest):
            raise ValueError("the vectors hold NaN or infinite values: check the embedder")
        if not self.scaled and largest > self.limit:
            raise ValueError(f"the vectors hold values up to {largest:g}, beyond the range of {self.name}: use float32")

    def decode(self, codes: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        """Read codes ``(N, D)`` and scales ``(N,)``, None where the format has none, as ``(N, D)`` float32."""
        values = self.to_values(codes)
        return values if scales is None else values * scales[:, None]


def _as_is(values: np.ndarray) -> np.ndarray:
    return values


def _to_float16(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16)


def _to_float32(codes: np.ndarray) -> np.ndarray:
    return codes.astype(np.float32)


def _to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Keep the upper 16 bits, rounding to the nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _from_bfloat16(codes: np.ndarray) -> np.ndarray:
    return (codes.astype(np.uint32) << 16).view(np.float32)


def _to_int8(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.int8)


def _float8_values() -> np.ndarray:
    """Return the values of the 256 codes of e4m3 (OCP 8-bit floating point, v1.0): no infinity, NaN where all bits are set."""
    code = np.arange(128)
    exponent, fraction = code >> 3, (code & 7) / 8
    positive = np.where(exponent == 0, fraction * 2.0**-6, (1 + fraction) * 2.0 ** (exponent - 7))
    positive[127] = np.nan
    return np.concatenate([positive, -positive]).astype(np.float32)


_FLOAT8 = _float8_values()
# Positive codes ascend with their values, so a magnitude has the code that counts the midpoints below it. A midpoint itself goes
# to the even code: after an odd code it counts too.
_MIDPOINTS = (_FLOAT8[:126] + _FLOAT8[1:127]) / 2
_MIDPOINTS[1::2] = np.nextafter(_MIDPOINTS[1::2], np.float32(0))


def _to_float8(values: np.ndarray) -> np.ndarray:
    magnitudes = np.searchsorted(_MIDPOINTS, np.abs(values)).astype(np.uint8)
    return magnitudes | (np.signbit(values).astype(np.uint8) << 7)


def _from_float8(codes: np.ndarray) -> np.ndarray:
    return _FLOAT8[codes]


FORMATS: dict[str, VectorFormat] = {
    one.name: one
    for one in (
        VectorFormat("float32", np.dtype(np.float32), float(np.finfo(np.float32).max), False, _as_is, _as_is),
        VectorFormat("float16", np.dtype(np.float16), 65504.0, False, _to_float16, _to_float32),
        VectorFormat("bfloat16", np.dtype(np.uint16), 3.3895313892515355e38, False, _to_bfloat16, _from_bfloat16),
        VectorFormat("float8", np.dtype(np.uint8), 448.0, True, _to_float8, _from_float8),
        VectorFormat("int8", np.dtype(np.int8), 127.0, True, _to_int8, _to_float32),
    )
}


def vector_format(name: str) -> VectorFormat:
    """Return a number format by name.

    Raises:
        ValueError: If the name is unknown.
    """
    return lookup(FORMATS, name, "vector format")
