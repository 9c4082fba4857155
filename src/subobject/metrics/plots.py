"""Plots of scores, each as SVG and PNG: precision against recall with published methods, and metrics against tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from subobject.files import atomic_path


class Published(NamedTuple):
    """A published result on the BSDS500 test images.

    Attributes:
        name: Method.
        f: F at the best threshold for all images (ODS).
        point: Recall and precision there, or None where only F is published.
        source: Where the figures stand.
    """

    name: str
    f: float
    point: tuple[float, float] | None
    source: str


PUBLISHED = (
    Published("human", 0.787, (0.700762, 0.897659), "the plots of the Berkeley benchmark; the literature also quotes .803"),
    Published("EDTER", 0.824, None, "Pu et al., CVPR 2022"),
    Published("PiDiNet", 0.807, None, "Su et al., ICCV 2021"),
    Published("HED", 0.782, None, "Xie and Tu, ICCV 2015"),
    Published("SAM, zero-shot", 0.768, None, "Kirillov et al., ICCV 2023"),
    Published("gPb-owt-ucm", 0.726, (0.726698, 0.725808), "Arbelaez et al., TPAMI 2011; its authors' evaluation"),
)

PANELS = {
    "recall": "boundary recall",
    "precision": "boundary precision",
    "ue": "undersegmentation error",
    "asa": "achievable accuracy",
    "covering": "covering",
    "explained_variation": "explained variation",
    "monosemanticity": "monosemanticity (as published)",
    "monosemanticity_area": "monosemanticity (by area)",
}
_MARKERS = "osD^vP*X<>"


def plot_precision_recall(folder: Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray, float]], split: str) -> list[Path]:
    """Draw ``precision_recall.svg`` and ``.png``: curves over curves of equal F, and published methods.

    A method of which only F is published stands where recall equals precision, as an open marker.

    Args:
        folder: Made if missing.
        curves: Recall ``(T,)``, precision ``(T,)`` and ODS by name.
        split: Of BSDS500, for the title; published figures are those of test.

    Returns:
        The files written.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed; the message names the extra.
    """
    figure, axes = new_figure(1, 1, (7.5, 6.2))
    (plot,) = axes
    levels = np.arange(0.1, 1, 0.1)
    for level in levels:
        recall = np.linspace(level / (2 - level), 1, 200)
        plot.plot(recall, level * recall / (2 * recall - level), color="0.85", linewidth=0.8, zorder=0)
        plot.annotate(
            f"F={level:.1f}", (1.0, level / (2 - level)), fontsize=7, color="0.5", xytext=(2, -2), textcoords="offset points"
        )
    for name, (recall, precision, ods) in curves.items():
        drawn = (recall > 0) & (precision > 0)
        plot.plot(recall[drawn], precision[drawn], linewidth=2, label=f"[{ods:.3f}] {name}")
        best = int(np.argmax(2 * recall * precision / np.maximum(recall + precision, 1e-12)))
        plot.plot(recall[best], precision[best], "o", color=plot.lines[-1].get_color(), markersize=6)
    for marker, method in zip(_MARKERS, PUBLISHED, strict=False):
        x, y = method.point or (method.f, method.f)
        face = None if method.point else "none"
        plot.plot(
            x, y, marker, markersize=7, color="0.25", markerfacecolor=face or "0.25", label=f"[{method.f:.3f}] {method.name}"
        )
    plot.set(xlim=(0, 1.06), ylim=(0, 1), xlabel="recall", ylabel="precision", title=f"Boundaries on BSDS500 {split}")
    note = "Published figures are for test. Open markers: only F is published, drawn where recall equals precision."
    figure.supxlabel(note, fontsize=7, color="0.4")
    plot.legend(fontsize=8, loc="lower left", title="[ODS] method", title_fontsize=8)
    return save_figure(figure, folder / "precision_recall")


def plot_against_tokens(folder: Path, rows: Sequence[Mapping[str, Any]], split: str) -> list[Path]:
    """Draw ``segments.svg`` and ``.png``: every metric against the mean number of tokens, a line a segmenter.

    Args:
        folder: Made if missing.
        rows: One a segmenter and budget, as ``evaluate segments`` prints them.
        split: Of BSDS500, for the title.

    Returns:
        The files written.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed; the message names the extra.
    """
    figure, axes = new_figure(2, 4, (16, 7.5))
    names = list(dict.fromkeys(row["segmenter"] for row in rows))
    for plot, (key, title) in zip(axes, PANELS.items(), strict=True):
        for marker, name in zip(_MARKERS, names, strict=False):
            points = sorted((row["tokens"], row[key]) for row in rows if row["segmenter"] == name)
            plot.plot(*zip(*points, strict=True), marker=marker, markersize=5, linewidth=1.5, label=name)
        plot.set_xscale("log", base=2)
        ticks = sorted({row["budget"] for row in rows})
        plot.set_xticks(ticks, [str(tick) for tick in ticks])
        plot.minorticks_off()
        plot.set(xlabel="tokens (mean over images)", title=title + (", lower is better" if key == "ue" else ""))
        plot.grid(color="0.92")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.suptitle(f"Partitions on BSDS500 {split}")
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(names), 8), fontsize=9)
    return save_figure(figure, folder / "segments")


def require_matplotlib() -> None:
    """Raise a ``ModuleNotFoundError`` that names the extra unless matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError('plots need matplotlib: pip install "subobject[plots]"') from None


def new_figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, list[Any]]:
    """Make a figure without a window.

    Args:
        rows: Rows of panels.
        columns: Columns of panels.
        size: Width and height in inches.
        options: Of ``Figure.subplots``.

    Returns:
        The figure, and the axes of its panels row by row.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed; the message names the extra.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(rows, columns, **options)).ravel())


def save_figure(figure: Any, stem: Path) -> list[Path]:
    """Write a figure as ``<stem>.svg`` and ``<stem>.png``; returns the files."""
    paths = [stem.with_name(stem.name + suffix) for suffix in (".svg", ".png")]
    for path in paths:
        with atomic_path(path) as partial:
            figure.savefig(partial, dpi=130)
    return paths
