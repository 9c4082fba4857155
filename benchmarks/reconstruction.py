"""How much of a photograph N tokens keep, against tokens, kept values and bytes, on photographs that nothing here was trained on.

    python benchmarks/reconstruction.py --data data/bsds500 --split test

Tokens are stored with 8 bits a value and decoded from vectors and boxes alone; JPEG and WebP get the bytes that the SeqAE tokens
take. ``uncoded-CONTEXT`` is what a SeqAE of that context could keep at best: its crops themselves, not coded at all. ``PATCH,
equal values`` are patches whose number is such that as many values are kept as of SeqAE.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from _report import write_report
from subobject.data import AnnotatedImage
from subobject.data.bsds500 import read_split
from subobject.embeddings.sequence import pack, paint
from subobject.metrics import rate
from subobject.metrics.codecs import CODECS
from subobject.metrics.reconstruction import psnr
from subobject.segments.pipeline import ImageSegmenter
from subobject.structures import Segmentation
from subobject.tokens.tokenizer import load_embedder

CONTEXTS = (256, 640, 1024)
PATCHES = ("patch-32", "patch-16")


class Cutter:
    """Cuts images, each only once, and notes what their crops keep without any coding."""

    def __init__(self, segmenter: ImageSegmenter):
        self.segmenter = segmenter
        self.uncoded: dict[tuple[int, int], list[float]] = {}

    def __call__(self, image: np.ndarray, budget: int) -> Segmentation:
        cut = self.segmenter(image, max_segments=budget)
        for context in CONTEXTS:
            picture = paint(pack(image, cut, context), cut.boxes, cut.size_hw)
            self.uncoded.setdefault((budget, context), []).append(psnr(image, picture))
        return cut


def at_equal_values(
    images: list[AnnotatedImage], coder: rate.Coder, first: rate.Coder, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Judge a coder with as many tokens as make up the values of the first one."""
    assert coder.embedder is not None
    assert first.embedder is not None
    budgets = {budget * first.embedder.dim // coder.embedder.dim: budget for budget in arguments.budgets}
    rows = rate.evaluate(images, [coder], [], list(budgets), dtype=arguments.dtype)
    return [row | {"method": f"{coder.name}, equal values", "budget": budgets[row["budget"]]} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of BSDS500")
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, default=None, help="only so many, evenly spread over the split")
    parser.add_argument("--budgets", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--segmenter", default="directsam")
    parser.add_argument("--dtype", default="int8")
    arguments = parser.parse_args()
    images = read_split(arguments.data, arguments.split)
    if arguments.images is not None:
        images = [images[i] for i in np.linspace(0, len(images) - 1, arguments.images).round().astype(int)]
    cutter = Cutter(ImageSegmenter.load(arguments.segmenter))
    coders = rate.make_coders(list(rate.METHODS), cutter, load_embedder)
    rows = rate.evaluate(images, coders, list(CODECS), arguments.budgets, dtype=arguments.dtype)
    rows += [row for coder in coders if coder.name in PATCHES for row in at_equal_values(images, coder, coders[0], arguments)]
    for (budget, context), values in cutter.uncoded.items():
        rows.append({"method": f"uncoded-{context}", "budget": budget, "psnr": round(float(np.mean(values)), 4)})
    for row in rows:
        print(json.dumps(row))
    payload = {
        "data": f"BSDS500 {arguments.split}, {len(images)} images",
        "segmenter": arguments.segmenter,
        "dtype": arguments.dtype,
        "rows": rows,
    }
    print(write_report("reconstruction", payload))


if __name__ == "__main__":
    main()
