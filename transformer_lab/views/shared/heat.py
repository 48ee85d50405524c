"""Numbers as coloured cells under each other, as a still picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .codecs import shown_text
from .colours import INK, LINE, QUIET
from .figures import blank, shortened, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 64  # columns up to which every one has its name
ROW, MOST, TOP = 0.24, 7.0, 1.0  # inches: of a row, of all rows of a panel at most, over the panels
Panel = tuple[str, Any, Any, Sequence[str], Mapping[str, Sequence[str]]]


def heat_maps(panels: Sequence[Panel], sentence: str) -> Figure:
    """Panels under each other, on one scale of colours each.

    Args:
        panels: (title, numbers [row, column], bool of as many cells that have a dot, the names of rows'
            and columns' axes, axis -> names on it) each; NaN stays empty.
    """
    heights = [min(MOST, ROW * len(numbers)) + 1.15 for _, numbers, *_ in panels]
    whole = sum(heights) + TOP
    figure = blank(8.5, whole)
    write(figure, 0.02, 1 - 0.12 / whole, shortened(sentence, 2), size=9)
    top = whole - TOP
    for (title, numbers, dots, axes, labels), height in zip(panels, heights, strict=True):
        drawn = figure.add_axes((0.09, (top - height + 0.8) / whole, 0.79, (height - 1.15) / whole))
        _draw(figure, drawn, title, np.asarray(numbers, float), np.asarray(dots), axes, labels)
        top -= height
    return figure


def _draw(figure: Any, axes: Any, title: str, numbers: Any, dots: Any, names: Any, labels: Any):
    known = np.isfinite(numbers)
    end = float(np.abs(numbers[known]).max()) if known.any() else 1.0
    image = axes.imshow(
        numbers, cmap="RdBu_r", vmin=-end or -1.0, vmax=end or 1.0, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    rows, columns = np.nonzero(dots)
    if len(rows) <= 2000:
        axes.plot(columns, rows, ".", color=INK, markersize=1.6, alpha=0.6)
    axes.set_title(shown_text(title), loc="left", fontsize=10, color=INK, parse_math=False)
    for axis, name in zip((axes.yaxis, axes.xaxis), names, strict=True):
        words = [shown_text(word) for word in labels[name]]
        step = -(-len(words) // NAMED)
        axis.set_ticks(range(0, len(words), step), words[::step], parse_math=False)
        axis.set_label_text(name, color=QUIET, fontsize=9)
    long = any(len(word) > 2 for word in labels[names[1]]) or len(labels[names[1]]) > 24
    axes.tick_params(colors=QUIET, labelsize=7, length=0)
    axes.tick_params(axis="x", rotation=90 if long else 0)
    axes.spines[:].set_color(LINE)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.015)
    bar.ax.tick_params(colors=QUIET, labelsize=7, length=0)
    bar.outline.set_visible(False)
