"""Tokenize one photograph at 512 x 512 with each runtime: seconds and ratios to torch, of the command and of its stages.

    python benchmarks/runtimes.py

``command`` is the wall time of `subobject tokenize`, start and imports and all. ``stages`` are medians in a process that has run
once. Each runtime has processes of its own, since waiting threads of one slow the next one down; they take turns.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from _report import write_report
from subobject import SubobjectTokenizer, read_image
from subobject.images import resize
from subobject.timing import Clock

PHOTO = Path(__file__).parent.parent / "examples" / "photos" / "astronaut.png"
RUNTIMES = ("torch", "onnx", "openvino")
TURNS = 5
ROUNDS = 5
"""Measured rounds a turn, after one to warm up."""
MAX_TOKENS = 100


def main() -> None:
    if len(sys.argv) == 2:
        print(json.dumps(measure_stages(sys.argv[1])))
        return
    command: dict[str, list[float]] = defaultdict(list)
    stages: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        Image.fromarray(resize(read_image(PHOTO), (512, 512))).save(photo)
        for turn in range(TURNS):
            for runtime in RUNTIMES:
                output = Path(folder) / f"{runtime}{turn}"
                tokenize = ["tokenize", str(photo), "-o", str(output), "--max-tokens", str(MAX_TOKENS), "--runtime", runtime]
                start = time.perf_counter()
                _run("-m", "subobject", *tokenize)
                command[runtime].append(time.perf_counter() - start)
                for stage, seconds in json.loads(_run(__file__, runtime)).items():
                    stages[runtime][stage] += seconds
    medians = {name: {stage: statistics.median(values) for stage, values in row.items()} for name, row in stages.items()}
    rows: dict[str, dict[str, Any]] = {}
    for runtime in RUNTIMES:
        seconds = statistics.median(command[runtime])
        rows[runtime] = {
            "command_seconds": round(seconds, 3),
            "command_times_faster_than_torch": round(statistics.median(command["torch"]) / seconds, 2),
            "stages_seconds": {stage: round(value, 4) for stage, value in medians[runtime].items()},
            "stages_times_faster_than_torch": round(medians["torch"]["all"] / medians[runtime]["all"], 2),
        }
        print(runtime, rows[runtime])
    setting = {"photo": PHOTO.name, "size": [512, 512], "max_tokens": MAX_TOKENS, "turns": TURNS, "rounds": ROUNDS}
    write_report("runtimes", setting | {"runtimes": rows})


def measure_stages(runtime: str) -> dict[str, list[float]]:
    """Return the seconds of each round, by stage, in this process."""
    pixels = resize(read_image(PHOTO), (512, 512))
    tokenizer = SubobjectTokenizer.from_pretrained(runtime=runtime)
    stages: dict[str, list[float]] = defaultdict(list)
    for round_ in range(ROUNDS + 1):
        clock = Clock()
        start = time.perf_counter()
        segmentation = tokenizer.segment(pixels, max_tokens=MAX_TOKENS, clock=clock)
        with clock.measure("embeddings"):
            vectors = tokenizer.embed([pixels], [segmentation]).vectors
        clock.seconds["all"] = time.perf_counter() - start
        assert np.isfinite(vectors).all()
        if round_:
            for stage, seconds in clock.seconds.items():
                stages[stage].append(seconds)
    return stages


def _run(*words: str) -> str:
    return subprocess.run([sys.executable, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
