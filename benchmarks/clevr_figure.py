"""Figure 4 of the paper (arXiv 2402.14327) with our runs: perplexity against steps, and accuracies of the generated captions.

    python benchmarks/clevr_figure.py --work runs/clevr_comparison --output docs/clevr_comparison

Reads what ``clevr_comparison.py`` left, the log and ``scores.json`` of every finished run, and writes OUTPUT.svg and OUTPUT.png.
A line is the mean over the seeds, its band reaches from the lowest to the highest seed; a bar is the mean, its whiskers likewise.
"""

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

from clevr_comparison import ACCURACIES, read_runs
from subobject.metrics.plots import new_figure, save_figure

LABELS = {"subobject": "subobjects", "patch": "patches", "masks": "true masks", "slic": "SLIC"}
COLOURS = {"subobject": "tab:blue", "patch": "tab:red", "masks": "tab:green", "slic": "tab:orange"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the comparison")
    parser.add_argument("--output", type=Path, required=True, help="path without suffix")
    arguments = parser.parse_args()
    runs = read_runs(arguments.work)
    if not runs:
        raise SystemExit(
            f"{arguments.work} has no finished run: run benchmarks/clevr_comparison.py --work {arguments.work} first"
        )
    for path in draw(runs, arguments.output):
        print(path)


def mean_history(runs: list[dict[str, Any]]) -> list[tuple[int, float, float, float]]:
    """Return step, mean, lowest and highest perplexity of each step that all runs have evaluated."""
    histories = [dict(run["history"]) for run in runs]
    steps = sorted(set.intersection(*(set(history) for history in histories)))
    values = [[history[step] for history in histories] for step in steps]
    return [(step, fmean(one), min(one), max(one)) for step, one in zip(steps, values, strict=True)]


def draw(runs: dict[str, list[dict[str, Any]]], stem: Path) -> list[Path]:
    """Draw the figure as SVG and PNG; returns the files."""
    figure, (lines, bars) = new_figure(1, 2, (12, 4.5), width_ratios=(1, 1.3))
    for method, found in runs.items():
        steps, means, lowest, highest = zip(*mean_history(found), strict=True)
        lines.plot(steps, means, color=COLOURS[method], linewidth=2, label=LABELS[method])
        lines.fill_between(steps, lowest, highest, color=COLOURS[method], alpha=0.2, linewidth=0)
    lines.set(xlabel="training steps", ylabel="perplexity of unseen captions", yscale="log")
    lines.set_yticks([1, 1.1, 1.2, 1.5, 2], ["1.0", "1.1", "1.2", "1.5", "2.0"])
    lines.minorticks_off()
    lines.grid(color="0.92")
    names = [name for name in ACCURACIES if all(name in run for found in runs.values() for run in found)]
    width = 0.8 / len(runs)
    for number, (method, found) in enumerate(runs.items()):
        values = [[100 * run[name] for run in found] for name in names]
        means = [fmean(one) for one in values]
        whiskers = [
            [mean - min(one) for mean, one in zip(means, values, strict=True)],
            [max(one) - mean for mean, one in zip(means, values, strict=True)],
        ]
        places = [place + (number - (len(runs) - 1) / 2) * width for place in range(len(names))]
        tokens = fmean(run["tokens"] for run in found)
        seeds = "1 seed" if len(found) == 1 else f"{len(found)} seeds"
        label = f"{LABELS[method]}, {tokens:.0f} tokens, {seeds}"
        drawn = bars.bar(places, means, width, yerr=whiskers, capsize=2, color=COLOURS[method], label=label)
        bars.bar_label(drawn, fmt="%.0f", fontsize=7, padding=1)
    bars.set(ylabel="accuracy in %", ylim=(0, 125), yticks=range(0, 101, 20))
    bars.set_xticks(range(len(names)), names)
    bars.legend(fontsize=8, loc="upper right", ncols=2)
    return save_figure(figure, stem)


if __name__ == "__main__":
    main()
