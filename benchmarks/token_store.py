"""Bytes a token against what is left of the picture: number formats and principal components of stored SeqAE vectors.

    python benchmarks/token_store.py --data data/bsds500

Photographs of BSDS500 val are tokenized, written to a store in each format, read back and decoded from their vectors and boxes.
Beside it: where the scale of 8-bit formats belongs, what the other columns take, and how fast a store is read.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from _report import write_report
from subobject import SubobjectTokenizer, TokenStore, TokenWriter
from subobject.data.bsds500 import read_split
from subobject.metrics.reconstruction import psnr
from subobject.structures import Tokens
from subobject.tokens.store.quantise import FORMATS, VectorFormat

Score = Callable[[list[np.ndarray]], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of BSDS500")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=20, help="number of photographs")
    parser.add_argument("--max-tokens", type=int, default=128)
    arguments = parser.parse_args()
    tokenizer = SubobjectTokenizer.from_pretrained()
    pictures = [one.image() for one in read_split(arguments.data, arguments.split)[: arguments.images]]
    tokens = [tokenizer(picture, max_tokens=arguments.max_tokens) for picture in pictures]

    def score(vectors: list[np.ndarray]) -> float:
        """Return the mean PSNR of the pictures decoded from these vectors, in dB."""
        embedder = tokenizer.embedder
        shapes = [(one.segmentation.boxes, one.segmentation.size_hw) for one in tokens]
        painted = [embedder.reconstruct(one, *shape) for one, shape in zip(vectors, shapes, strict=True)]
        return float(np.mean([psnr(picture, other) for picture, other in zip(pictures, painted, strict=True)]))

    settings = tokenizer.settings(max_tokens=arguments.max_tokens)
    dim = tokenizer.embedder.dim
    choices = [(dtype, None) for dtype in FORMATS] + [("float32", dim // 2), ("int8", dim // 2), ("int8", dim // 4)]
    formats = [measure(tokens, settings, score, dtype, pca) for dtype, pca in choices]
    baseline = formats[0]
    for row in formats:
        row["psnr_against_float32"] = row["psnr"] - baseline["psnr"]
    print(table(formats))
    scales = measure_scales([one.vectors for one in tokens], score, baseline["psnr"])
    print(scales)
    payload = {
        "data": f"BSDS500 {arguments.split}, {len(pictures)} images, {arguments.max_tokens} tokens each at most",
        "embedder": {name: settings[name] for name in ("embedder", "embedder_weights", "embedder_sha256")},
        "vector": dim,
        "tokens": sum(one.num_tokens for one in tokens),
        "formats": rounded(formats),
        "scales of 8-bit formats, dB against float32": scales,
        "bytes a token of each column, int8": columns(tokens, settings),
        "reading": measure_reading(tokens, settings),
    }
    print(write_report("token_store", payload))


def write(folder: Path, tokens: list[Tokens], settings: dict[str, Any], copies: int = 1, **options: Any) -> TokenStore:
    """Write a store of these images, each ``copies`` times, and open it."""
    with TokenWriter(folder, settings, **options) as writer:
        for copy in range(copies):
            for i, one in enumerate(tokens):
                writer.write(f"{copy}/{i}", one)
    return TokenStore.open(folder)


def column_bytes(store: TokenStore) -> dict[str, int]:
    """Return the compressed bytes of each column of a store."""
    sizes: dict[str, int] = {}
    for shard in store.manifest.shards:
        metadata = pq.read_metadata(store.folder / shard.file)
        for group in range(metadata.num_row_groups):
            for i in range(metadata.num_columns):
                column = metadata.row_group(group).column(i)
                name = column.path_in_schema.partition(".")[0]
                sizes[name] = sizes.get(name, 0) + column.total_compressed_size
    return sizes


def measure(tokens: list[Tokens], settings: dict[str, Any], score: Score, dtype: str, pca: int | None) -> dict[str, Any]:
    """Write, read and decode in one format."""
    with tempfile.TemporaryDirectory() as folder:
        store = write(Path(folder), tokens, settings, dtype=dtype, pca=pca)
        count = store.manifest.tokens
        sizes = column_bytes(store)
        form = FORMATS[dtype]
        values = pca or store.manifest.vector_size
        return {
            "dtype": dtype,
            "pca": pca,
            "vector_bytes_a_token": values * form.codes.itemsize + 4 * form.scaled,
            "vector_bytes_a_token_compressed": (sizes["vectors"] + sizes.get("scales", 0)) / count,
            "file_bytes_a_token": sum(shard.bytes for shard in store.manifest.shards) / count,
            "psnr": score([one.tokens.vectors for one in store]),
        }


def measure_scales(vectors: list[np.ndarray], score: Score, baseline: float) -> dict[str, dict[str, float]]:
    """Compare one scale a token, one a dimension of an image and one for all."""
    everything = np.concatenate(vectors)
    results: dict[str, dict[str, float]] = {}
    for name in ("float8", "int8"):
        form = FORMATS[name]
        largest: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "token": lambda one: np.abs(one).max(axis=1, keepdims=True),
            "dimension of an image": lambda one: np.abs(one).max(axis=0, keepdims=True),
            "store": lambda one: np.abs(everything).max(keepdims=True),
        }
        results[name] = {
            scope: round(score([requantise(form, one, find(one)) for one in vectors]) - baseline, 4)
            for scope, find in largest.items()
        }
    return results


def requantise(form: VectorFormat, vectors: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Write and read vectors with the scales that take ``largest`` to the limit of the format."""
    scales = np.maximum(largest / form.limit, np.float32(1e-20))
    return form.to_values(form.to_codes(np.clip(vectors / scales, -form.limit, form.limit))) * scales


def columns(tokens: list[Tokens], settings: dict[str, Any]) -> dict[str, float]:
    """Return the compressed bytes a token of every column."""
    with tempfile.TemporaryDirectory() as folder:
        store = write(Path(folder), tokens, settings, dtype="int8")
        return {name: round(size / store.manifest.tokens, 2) for name, size in column_bytes(store).items()}


def measure_reading(tokens: list[Tokens], settings: dict[str, Any]) -> dict[str, float]:
    """Time sequential rows, whole tokens with label maps, and single images in random order."""
    with tempfile.TemporaryDirectory() as folder:
        store = write(Path(folder), tokens, settings, copies=20, dtype="int8")
        order = np.random.default_rng(0).permutation(len(store))[:200]
        return {
            "images": len(store),
            "milliseconds_an_image_in_order": milliseconds(lambda: [None for _ in store.rows()], len(store)),
            "milliseconds_an_image_in_order_with_label_map": milliseconds(lambda: [None for _ in store], len(store)),
            "milliseconds_an_image_at_random": milliseconds(lambda: [store.row(int(i)) for i in order], len(order)),
        }


def milliseconds(work: Callable[[], Any], count: int) -> float:
    """Return the time of one of ``count`` items, the best of three runs."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return round(1e3 * best / count, 3)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the formats as the Markdown table of docs/store.md."""
    lines = [
        "| vectors | bytes a token | compressed | whole file | PSNR | against float32 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        name = row["dtype"] + (f", pca {row['pca']}" if row["pca"] else "")
        sizes = f"{row['vector_bytes_a_token']} | {row['vector_bytes_a_token_compressed']:.0f} | {row['file_bytes_a_token']:.0f}"
        lines.append(f"| {name} | {sizes} | {row['psnr']:.2f} dB | {row['psnr_against_float32']:+.3f} dB |")
    return "\n".join(lines)


def rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Round the figures of a table to what they are worth."""
    return [{key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()} for row in rows]


if __name__ == "__main__":
    main()
