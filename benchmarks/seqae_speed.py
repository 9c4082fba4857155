"""Speed and memory of SeqAE: ratios of runs made side by side, in one process, on synthetic weights where only shapes matter.

python benchmarks/seqae_speed.py decoding                              # parallel against autoregressive at context 1024
python benchmarks/seqae_speed.py ragged --data data/bsds500            # 10,000 segments against full sequences
python benchmarks/seqae_speed.py memory --data data/bsds500            # peak memory against the number of images
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from _report import write_report
from subobject.data.bsds500 import read_split
from subobject.embeddings.autoencoder import SeqAEEmbedder
from subobject.embeddings.sequence import PackedSegments, concatenate, pack, select
from subobject.segments.pipeline import ImageSegmenter
from subobject.structures import Segmentation

TOKENS = 128


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def scenes(data: Path) -> Iterator[tuple[np.ndarray, Segmentation]]:
    """Cut photographs, again and again."""
    segmenter = ImageSegmenter.load()
    for image in cycle(read_split(data, "val")):
        pixels = image.image()
        yield pixels, segmenter(pixels, max_segments=TOKENS)


def decoding(rounds: int) -> dict[str, Any]:
    """Decode one segment of 32 x 32 pixels with each decoder; width, layers and queries are equal.

    The autoregressive decoder keeps keys and values; as a loop it runs in torch only, the parallel one in every runtime.
    """
    import torch

    from subobject.embeddings.export import export_onnx
    from subobject.embeddings.seqae import SeqAE, SeqAEConfig

    torch.manual_seed(0)
    sizes = np.array([[32, 32]], np.int32)
    embedders = {}
    with tempfile.TemporaryDirectory() as folder:
        for decoder, runtimes in (("parallel", ("torch", "onnx", "openvino")), ("autoregressive", ("torch",))):
            model = SeqAE(SeqAEConfig(context=1024, decoder=decoder, cosines=0)).eval()
            model.save_pretrained(f"{folder}/{decoder}")
            export_onnx(model, f"{folder}/{decoder}")
            for runtime in runtimes:
                embedders[f"{decoder}, {runtime}"] = SeqAEEmbedder.from_pretrained(f"{folder}/{decoder}", runtime=runtime)
        vectors = np.random.default_rng(0).normal(size=(1, 256)).astype(np.float32)
        times: dict[str, list[float]] = {name: [] for name in embedders}
        for round_number in range(rounds + 1):  # The first one warms up.
            for name, embedder in embedders.items():
                spent = seconds(lambda embedder=embedder: embedder.decode(vectors, sizes))  # type: ignore[misc]
                times[name] += [spent] if round_number else []
    medians = {name: statistics.median(values) for name, values in times.items()}
    slowest = medians["autoregressive, torch"]
    return {
        "context": 1024,
        "rounds": rounds,
        "seconds": {name: round(value, 5) for name, value in medians.items()},
        "times_faster": {name: round(slowest / value, 1) for name, value in medians.items()},
    }


def ragged(data: Path, count: int, rounds: int) -> dict[str, Any]:
    """Encode segments of photographs, and as many pixels in sequences as long as the context."""
    embedder = SeqAEEmbedder.from_pretrained()
    parts: list[PackedSegments] = []
    for pixels, segmentation in scenes(data):
        parts.append(pack(pixels, segmentation, embedder.context))
        if sum(len(one) for one in parts) >= count:
            break
    segments = select(concatenate(parts), np.arange(count))
    side = round(embedder.context**0.5)
    full = PackedSegments.zeros(np.full((round(len(segments.pixels) / side**2), 2), side, dtype=np.int32))
    full.pixels[:] = np.resize(segments.pixels, full.pixels.shape)
    times: dict[str, list[float]] = {"segments": [], "full sequences": []}
    embedder.encode(select(full, np.arange(min(64, len(full)))))
    for _ in range(rounds):
        times["segments"].append(seconds(lambda: embedder.encode(segments)))
        times["full sequences"].append(seconds(lambda: embedder.encode(full)))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "segments": count,
        "pixels": len(segments.pixels),
        "full_sequences": len(full),
        "runtime": embedder.encoder.runtime,
        "rounds": rounds,
        "seconds": {name: round(value, 3) for name, value in medians.items()},
        "ratio": round(medians["segments"] / medians["full sequences"], 3),
    }


def memory(data: Path, images: int) -> dict[str, Any]:
    """Embed a quarter of the images, then all of them, one after the other, and note the peak memory of the process."""
    embedder = SeqAEEmbedder.from_pretrained()
    peaks = {}
    for number, (pixels, segmentation) in enumerate(scenes(data), start=1):
        embedder.embed(pixels, segmentation)
        if number in (images // 4, images):
            peaks[number] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        if number == images:
            return {"peak_megabytes": peaks, "growth": round(peaks[images] / peaks[images // 4], 4)}
    raise AssertionError("photographs come again and again")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("decoding", "ragged", "memory"))
    parser.add_argument("--data", type=Path, help="folder of BSDS500")
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.what != "decoding" and arguments.data is None:
        parser.error(f"{arguments.what} needs photographs: give --data")
    if arguments.what == "decoding":
        figures = decoding(arguments.rounds)
    elif arguments.what == "ragged":
        figures = ragged(arguments.data, arguments.segments, arguments.rounds)
    else:
        figures = memory(arguments.data, arguments.images)
    print(json.dumps(figures, indent=2))
    print(write_report(f"seqae_speed_{arguments.what}", {"figures": figures}))


if __name__ == "__main__":
    main()
