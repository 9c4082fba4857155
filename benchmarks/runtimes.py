"""Tokenize one photograph at 512 x 512 with every installed runtime, in turn, in one run: seconds and ratios to torch.

python benchmarks/runtimes.py
"""

import statistics
import time
from pathlib import Path

import numpy as np

from _report import write_report
from subobject import SubobjectTokenizer, read_image
from subobject.images import resize
from subobject.timing import Clock

PHOTO = Path(__file__).parent.parent / "examples" / "photos" / "astronaut.png"
RUNTIMES = ("torch", "onnx", "openvino")
ROUNDS = 7
MAX_TOKENS = 100


def main() -> None:
    pixels = resize(read_image(PHOTO), (512, 512))
    tokenizers = {}
    for runtime in RUNTIMES:
        try:
            tokenizers[runtime] = SubobjectTokenizer.from_pretrained(runtime=runtime)
        except ModuleNotFoundError:
            print(f"{runtime} is not installed: left out")
    stages: dict[str, dict[str, list[float]]] = {runtime: {} for runtime in tokenizers}
    vectors: dict[str, np.ndarray] = {}
    for round_ in range(ROUNDS + 1):
        for runtime, tokenizer in tokenizers.items():
            clock = Clock()
            start = time.perf_counter()
            segmentation = tokenizer.segment(pixels, max_tokens=MAX_TOKENS, clock=clock)
            with clock.measure("embeddings"):
                vectors[runtime] = tokenizer.embed([pixels], [segmentation]).vectors
            clock.seconds["all"] = time.perf_counter() - start
            if round_ == 0:  # Warm-up: compilation and first allocations.
                continue
            for stage, seconds in clock.seconds.items():
                stages[runtime].setdefault(stage, []).append(seconds)
    rows = {
        runtime: {stage: round(statistics.median(values), 4) for stage, values in measured.items()}
        for runtime, measured in stages.items()
    }
    for runtime, row in rows.items():
        row["times_faster_than_torch"] = round(rows["torch"]["all"] / row["all"], 2) if "torch" in rows else None
        print(runtime, row)
    write_report(
        "runtimes", {"photo": PHOTO.name, "size": [512, 512], "max_tokens": MAX_TOKENS, "rounds": ROUNDS, "seconds": rows}
    )


if __name__ == "__main__":
    main()
