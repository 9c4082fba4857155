"""Where captioners of CLEVR miscount: scenes where an object was lost, where one was divided, and where each has its segment.

    python benchmarks/clevr_errors.py --data data/clevr --work runs/clevr_comparison --methods subobject masks

Reads the stores and the captions that ``clevr_comparison.py`` left; ``clevr_segments.py`` says what lost and divided mean. A
scene with objects of both kinds counts as lost.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from _report import write_report
from clevr_comparison import METHODS, run_folder, store_folder
from clevr_segments import fit
from subobject.data.captions import CaptionError, parse_caption
from subobject.data.clevr import ClevrImage, read_clevr
from subobject.tokens.store import TokenStore

KINDS = ("lost", "divided", "whole")
"""Of scenes, by the worst that happened to an object."""


def main() -> None:
    arguments = _parse_arguments()
    images = {Path(image.name).stem: image for image in read_clevr(arguments.data, "val")}
    rows = []
    for method in arguments.methods:
        kinds = kinds_of_scenes(TokenStore.open(store_folder(arguments.work, method) / "val"), images)
        for seed in arguments.seeds:
            captions = run_folder(arguments.work, method, seed) / "captions.jsonl"
            if not captions.is_file():
                raise SystemExit(f"{captions} is missing: run benchmarks/clevr_comparison.py --work {arguments.work} first")
            right = {one["image"]: counts_agree(one["caption"], one["text"]) for one in map(json.loads, captions.open())}
            rows.append({"method": method, "seed": seed, **tabulate(kinds, right)})
            print(rows[-1], flush=True)
    write_report("clevr_errors", {"rows": rows})


def kinds_of_scenes(store: TokenStore, images: dict[str, ClevrImage]) -> dict[str, str]:
    """Return the kind of each scene of a store, by its name."""
    kinds = {}
    for row, image_id in enumerate(store.image_ids()):
        name = Path(image_id).stem
        found = fit(store.row(row).tokens().segmentations[0].labels, images[name].mask())
        kinds[name] = "lost" if found.lost.any() else "divided" if found.divided.any() else "whole"
    return kinds


def counts_agree(caption: str, true: str) -> bool:
    """Return whether a caption follows the grammar and states the number of the true one."""
    try:
        return parse_caption(caption).count == parse_caption(true).count
    except CaptionError:
        return False


def tabulate(kinds: dict[str, str], right: dict[str, bool]) -> dict[str, dict[str, float | None]]:
    """Return, for each kind, its share of the scenes and the share of these that were counted right; None if there are none."""
    table = {}
    for kind in KINDS:
        these = [right[name] for name in right if kinds[name] == kind]
        table[kind] = {
            "scenes": round(len(these) / len(right), 4),
            "count": round(float(np.mean(these)), 4) if these else None,
        }
    return table


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of CLEVR with label maps")
    parser.add_argument("--work", type=Path, required=True, help="folder of the comparison")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["subobject", "masks"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    return parser.parse_args()


if __name__ == "__main__":
    main()
