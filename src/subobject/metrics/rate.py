"""How much of an image N tokens keep, and what they cost: quality against tokens, kept values and bytes, for several coders.

A coder turns an image into tokens within a budget and back into pixels, from stored vectors and boxes alone. Vectors are judged
as they are stored, by default one byte a value and a scale a token. A token also needs its box, four numbers of 16 bits, unless
the boxes are those of a grid. JPEG and WebP get as many bytes as the first coder took.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from subobject.data import AnnotatedImage
from subobject.embeddings import Embedder
from subobject.embeddings.sequence import pack, paint
from subobject.images import resize
from subobject.metrics.codecs import code_within
from subobject.metrics.reconstruction import mask_iou, masked_psnr, psnr, ssim
from subobject.registry import lookup
from subobject.segments.colour import colour_gradient
from subobject.segments.partition import segmentation_from_labels
from subobject.segments.patches import grid_labels
from subobject.structures import Segmentation
from subobject.tokens.store.quantise import FORMATS

BOX_BYTES = 8
SCALE_BYTES = 4
_DIGITS = 4
Values = dict[str, float | None]
Cut = Callable[[np.ndarray, int], Segmentation]
Load = Callable[[str, str | None], Embedder]
Titled = tuple[str, np.ndarray]


class Method(NamedTuple):
    """``embedder`` and its ``weights`` by name, None for exact masks and those that ship; ``grid``: cut into square cells."""

    embedder: str | None
    weights: str | None = None
    grid: bool = False


METHODS: dict[str, Method] = {
    "seqae": Method("seqae"),
    "mean-colour": Method("mean-colour"),
    "mean-colour-exact": Method(None),
    "patch-32": Method("patch", "patch.bsds500", grid=True),
    "patch-16": Method("patch", "patch.bsds500-p16", grid=True),
}


@dataclass(frozen=True)
class Coder:
    """Tokens of one kind.

    Attributes:
        name: For reports.
        cut: Image ``(H, W, 3)`` uint8 and budget to a segmentation of at most so many segments.
        embedder: Segments to vectors and back; None for the mean colour of each segment painted into its exact mask.
        box_bytes: Bytes of a box; 0 where the boxes follow from the size of the image.
    """

    name: str
    cut: Cut
    embedder: Embedder | None
    box_bytes: int = BOX_BYTES


@dataclass(frozen=True)
class Coded:
    """An image after coding: the picture decoded, and the scores and costs in ``values``."""

    picture: np.ndarray
    values: Values


def make_coders(names: Sequence[str], cut: Cut, load: Load) -> list[Coder]:
    """Make coders by name.

    Args:
        names: Keys of ``METHODS``.
        cut: Cuts images for those that do not use a grid.
        load: Name and weights (None for those that ship) to an embedder.

    Raises:
        ValueError: If a name is unknown, or an embedder cannot be loaded.
    """
    coders = []
    for name in names:
        method = lookup(METHODS, name, "method")
        embedder = None if method.embedder is None else load(method.embedder, method.weights)
        coders.append(Coder(name, cut_grid if method.grid else cut, embedder, 0 if method.grid else BOX_BYTES))
    return coders


def cut_grid(image: np.ndarray, budget: int) -> Segmentation:
    """Cut an image into the grid of nearly square cells with the most cells within a budget."""
    height, width = image.shape[:2]
    ideal = math.sqrt(budget * width / height)
    grids = []
    for columns in (max(1, math.floor(ideal)), math.ceil(ideal)):
        columns = min(columns, budget)
        grids.append((budget // columns, columns))
    rows, columns = max(grids, key=lambda grid: grid[0] * grid[1])
    return segmentation_from_labels(grid_labels((height, width), rows, columns), colour_gradient(image))


def code(image: np.ndarray, segmentation: Segmentation, coder: Coder, dtype: str = "int8") -> Coded:
    """Code an image and judge what comes back.

    Args:
        image: RGB, ``(H, W, 3)`` uint8.
        segmentation: Its segments.
        coder: What makes vectors of them.
        dtype: Number format of the stored vectors, a key of ``tokens.store.quantise.FORMATS``.

    Returns:
        The picture with ``tokens``, ``kept`` (values), ``bytes``, ``psnr``, ``ssim``, ``segment_psnr`` (mean over segments of
        the ratio inside their masks) and ``mask_iou`` (mean over segments); None where a coder has no such value.
    """
    boxes, size_hw = segmentation.boxes, segmentation.size_hw
    if coder.embedder is None:
        flat = paint(pack(image, segmentation, 1), boxes, size_hw, segmentation.labels)
        return Coded(flat, _scores(image, flat, segmentation) | {"mask_iou": 1.0, "kept": 3 * len(boxes), "bytes": None})
    stored = lookup(FORMATS, dtype, "number format")
    codes, scales = stored.encode(coder.embedder.embed(image, segmentation))
    vectors = stored.decode(codes, scales)
    picture = coder.embedder.reconstruct(vectors, boxes, size_hw)
    a_token = codes.shape[1] * codes.itemsize + SCALE_BYTES * stored.scaled + coder.box_bytes
    costs: Values = {"kept": float(vectors.size), "bytes": float(len(boxes) * a_token)}
    overlap: Values = {"mask_iou": mean_mask_iou(coder.embedder, vectors, segmentation)}
    return Coded(picture, _scores(image, picture, segmentation) | overlap | costs)


def mean_mask_iou(embedder: Embedder, vectors: np.ndarray, segmentation: Segmentation) -> float:
    """Return the mean over segments of the overlap of decoded masks (at least 0.5, at the size of the box) with the true ones."""
    crops = embedder.decode_crops(vectors, segmentation.boxes)
    overlaps = []
    for i, (x0, y0, x1, y1) in enumerate(segmentation.boxes.tolist()):
        decoded = resize(np.ascontiguousarray(crops[i][:, 3].reshape(*crops.sizes[i])), (y1 - y0, x1 - x0))
        overlaps.append(mask_iou(segmentation.labels[y0:y1, x0:x1] == i, decoded >= 0.5))
    return float(np.mean(overlaps))


def evaluate(
    images: Sequence[AnnotatedImage],
    coders: Sequence[Coder],
    codecs: Sequence[str],
    budgets: Sequence[int],
    *,
    dtype: str = "int8",
    advance: Callable[[], Any] = lambda: None,
    show: Callable[[str, list[list[Titled]]], Any] = lambda image, rows: None,
) -> list[dict[str, Any]]:
    """Judge coders, and codecs at the bytes of the first coder.

    Args:
        images: At least one.
        coders: At least one; the first one sets the bytes.
        codecs: Names of ``metrics.codecs.CODECS``.
        budgets: Largest numbers of tokens, each at least 1.
        dtype: Number format of the stored vectors.
        advance: Called once an image.
        show: Called once an image with its id and titled pictures, a row a budget, the original first.

    Returns:
        One dict a budget and coder: ``method``, ``budget``, and the values of ``code``, means over images.

    Raises:
        ValueError: If there is no image, coder or budget, or a budget is below 1.
    """
    if not images or not coders or not budgets or min(budgets) < 1:
        raise ValueError("give at least one image, one coder, and budgets of 1 or more tokens")
    rows: dict[tuple[int, str], list[Values]] = {}
    for image in images:
        pixels = image.image()
        pictures: list[list[Titled]] = []
        for budget in budgets:
            pictures.append([("original", pixels)])
            cuts: dict[Cut, Segmentation] = {}
            first = 0
            for coder in coders:
                if coder.cut not in cuts:
                    cuts[coder.cut] = coder.cut(pixels, budget)
                coded = code(pixels, cuts[coder.cut], coder, dtype)
                first = first or int(coded.values["bytes"] or 0)
                rows.setdefault((budget, coder.name), []).append(coded.values)
                pictures[-1].append((_title(coder.name, coded.values), coded.picture))
            for name in codecs if first else ():
                picture, size = code_within(pixels, name, first)
                scores: Values = {"psnr": psnr(pixels, picture), "ssim": ssim(pixels, picture), "bytes": float(size)}
                rows.setdefault((budget, name), []).append(scores)
                pictures[-1].append((_title(name, scores), picture))
        show(image.id, pictures)
        advance()
    return [{"method": name, "budget": budget, **_means(values)} for (budget, name), values in rows.items()]


def _scores(image: np.ndarray, picture: np.ndarray, segmentation: Segmentation) -> Values:
    original, decoded = image.astype(np.float32) / 255, picture.astype(np.float32) / 255
    inside = []
    for i, (x0, y0, x1, y1) in enumerate(segmentation.boxes.tolist()):
        window = (slice(y0, y1), slice(x0, x1))
        inside.append(masked_psnr(original[window], decoded[window], segmentation.labels[window] == i))
    return {
        "tokens": float(segmentation.num_segments),
        "psnr": psnr(image, picture),
        "ssim": ssim(image, picture),
        "segment_psnr": float(np.mean(inside)),
    }


def _title(name: str, values: Values) -> str:
    parts = [name, f"{values['psnr']:.1f} dB"]
    if "tokens" in values:
        parts.append(f"{values['tokens']:.0f} tokens")
    if values["bytes"] is not None:
        parts.append(f"{values['bytes']:,.0f} bytes")
    return ", ".join(parts)


def _means(values: list[Values]) -> Values:
    means: Values = {}
    for key in values[0]:
        known = [one[key] for one in values]
        means[key] = None if known[0] is None else round(float(np.mean(known)), _DIGITS)  # type: ignore[arg-type]
    return means
