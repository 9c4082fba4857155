"""The paper's comparison (arXiv 2402.14327, figure 4): one language model, trained on the same captions from different tokens.

    subobject data clevr-render --output data/clevr --split train --count 7500 --seed 0
    subobject data clevr-render --output data/clevr --split val --count 2000 --seed 1
    python benchmarks/clevr_comparison.py --data data/clevr --work runs/clevr_comparison

Each method is tokenized once, and trained and evaluated for each seed; nothing differs but the token store: same images, each of
them also mirrored, captions, steps, optimiser, and order of the batches for a seed. What is finished is skipped, so that the same
command continues a comparison that was stopped. The table of all that is finished in the folder goes to
``results/clevr_comparison.json``; a second call can add other methods or seeds.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from _report import write_report
from subobject.data.clevr import ClevrImage, read_clevr
from subobject.files import atomic_path
from subobject.segments.partition import segmentation_from_labels
from subobject.structures import Segmentation
from subobject.tokens.order import arrange
from subobject.tokens.store import TokenWriter
from subobject.tokens.tokenizer import SubobjectTokenizer

MASKS = "clevr-masks"
"""Ground truth in place of a segmenter: the label maps beside the images."""
SEQAE = "seqae.bsds500"
METHODS: dict[str, dict[str, str]] = {
    "subobject": {"segmenter": "directsam", "merge_order": "strength", "embedder": "seqae", "embedder_weights": SEQAE},
    "patch": {"segmenter": "tiles", "embedder": "patch"},
    "masks": {"segmenter": MASKS, "embedder": "seqae", "embedder_weights": SEQAE},
    "slic": {"segmenter": "slic", "embedder": "seqae", "embedder_weights": SEQAE},
}
"""Segmenter and embedder of the tokenizer."""
UNLIMITED = ("patch", "masks")
"""Methods that a budget would change: patches would merge to no patches, and masks are as many as there are."""
SCORES = (
    "parse_rate",
    "count",
    "size",
    "colour",
    "material",
    "shape",
    "object",
    "exact",
    "perplexity",
    "tokens",
    "prefill_flops",
)
BATCH = 16
"""Images that are embedded at a time."""
ACCURACIES = ("count", "size", "colour", "material", "shape")


def main() -> None:
    arguments = _parse_arguments()
    for method in arguments.methods:
        make_stores(method, arguments)
    for seed in arguments.seeds:
        for method in arguments.methods:
            train_and_evaluate(method, seed, arguments)
    payload = {
        "data": {"train": arguments.train_images, "val": arguments.val_images},
        "max_tokens": arguments.max_tokens,
        "threshold": arguments.threshold,
        "colour_weight": arguments.colour_weight,
        "recipe": arguments.recipe.name,
        "set": arguments.set,
        **summarise(read_runs(arguments.work)),
    }
    print(json.dumps(payload["methods"], indent=2))
    print(write_report("clevr_comparison", payload))


def store_folder(work: Path, method: str) -> Path:
    """Return the folder with a store a split."""
    return work / "stores" / method


def run_folder(work: Path, method: str, seed: int) -> Path:
    """Return the folder of one training run; its ``scores.json`` says that it is finished."""
    return work / "runs" / f"{method}-seed{seed}"


def perplexity_history(run: Path) -> list[tuple[int, float]]:
    """Return the perplexity of unseen captions after each evaluated step of a training run, in order."""
    log = json.loads((run / "trainer_state.json").read_text())["log_history"]
    return sorted({(entry["step"], entry["eval_perplexity"]) for entry in log if "eval_perplexity" in entry})


def first_step_reaching(history: list[tuple[int, float]], target: float) -> int | None:
    """Return the first evaluated step with at most this perplexity; None if there is none."""
    return next((step for step, perplexity in history if perplexity <= target), None)


def make_stores(method: str, arguments: argparse.Namespace) -> None:
    """Tokenize both splits, or what of them is missing."""
    tokenizer = open_tokenizer(method, arguments.boundary_weights, arguments.colour_weight)
    budget = {"max_tokens": 2**16 if method in UNLIMITED else arguments.max_tokens}
    if method == "subobject" and arguments.threshold is not None:
        budget = {"threshold": arguments.threshold}
    for split, count in (("train", arguments.train_images), ("val", arguments.val_images)):
        images = read_clevr(arguments.data, split)[:count]
        if len(images) < count:
            raise SystemExit(
                f"{arguments.data} has {len(images)} images of {split} instead of {count}: draw more, or ask for fewer"
            )
        if split == "train":
            images += [image.mirror() for image in images]
        print(f"{method}: {len(images)} images of {split}", file=sys.stderr, flush=True)
        settings = tokenizer.settings(**budget) | {"segmenter": METHODS[method]["segmenter"]}
        with TokenWriter(store_folder(arguments.work, method) / split, settings) as writer:
            missing = [image for image in images if image.name not in writer]
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                pixels = [image.image() for image in batch]
                if method == "masks":
                    cut = [arrange(mask_segmentation(image), tokenizer.config.order, tokenizer.config.seed) for image in batch]
                else:
                    cut = [tokenizer.segment(one, **budget) for one in pixels]
                for image, tokens in zip(batch, tokenizer.embed(pixels, cut), strict=True):
                    writer.write(image.name, tokens, file=image.image_path)


def open_tokenizer(method: str, boundary_weights: str | None = None, colour_weight: float | None = None) -> SubobjectTokenizer:
    """Open the tokenizer of a method; that of ``masks`` embeds only, and what is given here goes to ``subobject``."""
    parts: dict[str, Any] = dict(METHODS[method])
    if parts["segmenter"] == MASKS:
        parts["segmenter"] = "tiles"
    if parts["segmenter"] == "directsam":
        given = {"boundary_weights": boundary_weights, "colour_weight": colour_weight}
        parts |= {name: value for name, value in given.items() if value is not None}
    return SubobjectTokenizer.from_pretrained(**parts)


def mask_segmentation(image: ClevrImage) -> Segmentation:
    """Return the partition by the true label map: the ground and each object, or the parts that others cut them into."""
    labels = image.mask()
    return segmentation_from_labels(labels, np.ones(labels.shape, np.float32))


def train_and_evaluate(method: str, seed: int, arguments: argparse.Namespace) -> None:
    """Train one run and write its scores, unless it has them."""
    run = run_folder(arguments.work, method, seed)
    path = run / "scores.json"
    stores = store_folder(arguments.work, method)
    if not path.is_file():
        print(f"{method}, seed {seed}", file=sys.stderr, flush=True)
        if not is_trained(run):
            _train(run, stores, seed, arguments)
        options = ["--data", str(arguments.data), "--tokens", str(stores / "val"), "--limit", str(arguments.val_images)]
        output = ["-o", str(run / "captions.jsonl"), "--json"]
        line = _subobject("evaluate", "captions", "--model", str(run / "final"), *options, *output)
        with atomic_path(path) as partial:
            partial.write_text(line)


def read_runs(work: Path) -> dict[str, list[dict[str, Any]]]:
    """Return seed, history and scores of every finished run, in the order of the seeds, for each method that has one."""
    found: dict[str, list[dict[str, Any]]] = {}
    for method in METHODS:
        for path in run_folder(work, method, 0).parent.glob(f"{method}-seed*/scores.json"):
            seed = int(path.parent.name.rpartition("seed")[2])
            one = {"seed": seed, "history": perplexity_history(path.parent), **json.loads(path.read_text())}
            found.setdefault(method, []).append(one)
    return {method: sorted(runs, key=lambda run: run["seed"]) for method, runs in found.items()}


def is_trained(run: Path) -> bool:
    """Return whether a training run has come to its end; trained further, it would take a step more than the others."""
    return (run / "trainer_state.json").is_file() and (run / "final" / "processor_config.json").is_file()


def _train(run: Path, stores: Path, seed: int, arguments: argparse.Namespace) -> None:
    values = {
        "output": run,
        "data": arguments.data,
        "tokens": stores,
        "splits": "[train]",
        "trainer.seed": seed,
        "language.samples": arguments.train_images,
        "language.mirror": True,
        "language.eval_split": "val",
    }
    changes = [f"{key}={value}" for key, value in values.items()] + arguments.set
    _subobject("train", "language", "--config", str(arguments.recipe), *(word for one in changes for word in ("--set", one)))


def summarise(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return mean and deviation of each score over the seeds, margins over the patch runs, and steps to their perplexity.

    Args:
        runs: For each method one dict a seed: ``seed``, ``history`` and the scores.

    Returns:
        ``methods``; where patch runs are given, for each other method ``margins`` in points (the mean and the smallest over the
        seeds of the difference to the patch run of the same seed) and ``steps_to_patch`` (for each seed the step at which the
        final perplexity of the patch run is reached, the steps of the patch run, and their ratio); and all ``runs``.
    """
    table = {
        method: {name: _mean_and_deviation([one[name] for one in found]) for name in SCORES if name in found[0]}
        for method, found in runs.items()
    }
    summary: dict[str, Any] = {"methods": table}
    if "patch" in runs:
        others = {method: list(_paired(found, runs["patch"])) for method, found in runs.items() if method != "patch"}
        summary["margins"] = {method: _margins(pairs) for method, pairs in others.items() if pairs}
        summary["steps_to_patch"] = {method: [_speed(*pair) for pair in pairs] for method, pairs in others.items()}
    return summary | {"runs": runs}


def _paired(found: list[dict[str, Any]], patch: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    by_seed = {one["seed"]: one for one in patch}
    return ((one, by_seed[one["seed"]]) for one in found if one["seed"] in by_seed)


def _margins(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, dict[str, float]]:
    margins = {name: [100 * (one[name] - other[name]) for one, other in pairs] for name in ACCURACIES if name in pairs[0][0]}
    return {name: {"mean": round(fmean(values), 2), "smallest": round(min(values), 2)} for name, values in margins.items()}


def _speed(one: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    steps, target = patch["history"][-1]
    reached = first_step_reaching(one["history"], target)
    return {
        "seed": one["seed"],
        "perplexity": round(target, 4),
        "step": reached,
        "patch_steps": steps,
        "ratio": None if reached is None else round(reached / steps, 3),
    }


def _mean_and_deviation(values: list[float]) -> dict[str, float | None]:
    digits = 4 if max(values) < 1e4 else 0
    return {"mean": round(fmean(values), digits), "deviation": round(stdev(values), digits) if len(values) > 1 else None}


def _subobject(*words: str) -> str:
    """Run the command; returns its stdout, and ends the comparison where it fails."""
    done = subprocess.run([sys.executable, "-m", "subobject", *words], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(
            f"`subobject {words[0]}` failed with status {done.returncode}; the same command continues the comparison"
        )
    return done.stdout


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of CLEVR with label maps")
    parser.add_argument("--work", type=Path, required=True, help="folder for stores and runs")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parent.parent / "recipes" / "clevr_small.yaml")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--train-images", type=int, default=7500)
    parser.add_argument("--val-images", type=int, default=2000)
    parser.add_argument("--max-tokens", type=int, default=32, help="budget of subobject and slic")
    parser.add_argument("--threshold", type=float, default=None, help="cut of subobject, in place of the budget")
    parser.add_argument("--colour-weight", type=float, default=None, help="of subobject; the tokenizer's own if left out")
    parser.add_argument("--boundary-weights", default=None, help="boundary network of subobject; the one that ships if left out")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="values of the recipe to replace, for all runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
