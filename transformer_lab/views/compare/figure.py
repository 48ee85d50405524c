"""The still picture of a CompareView."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from .colours import ACCENT, BLOCKED, LINE, QUIET, colour_map
from .head_figure import MONO, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .compare_view import CompareView


def compare_figure(view: CompareView) -> Figure:
    """Every head by how much of its attention lies elsewhere; both maps and their difference."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(11.5, 4.4), facecolor="white")
    FigureCanvasAgg(figure)
    kind, layer, head = view.shown
    title = f"{view._title} · {view._names[0]} and {view._names[1]} · layer {layer}, head {head}"
    write(figure, 0.02, 0.97, title, size=12, weight="bold")
    write(figure, 0.02, 0.905, "\n".join(textwrap.wrap(view.sentence, 135)[:2]), size=10)
    grid = view.moved(kind)
    axes = figure.add_axes((0.05, 0.12, 0.15, 0.56))
    axes.imshow(grid.numpy(), cmap=colour_map(), vmin=0, vmax=max(0.05, float(grid.max())))
    box = (head - 0.5, layer - 0.5)
    axes.add_patch(Rectangle(box, 1, 1, fill=False, edgecolor=ACCENT, linewidth=2, zorder=5))
    axes.set_title("attention that lies elsewhere", fontsize=9, color=QUIET, loc="left")
    for axis, count in ((axes.xaxis, grid.shape[1]), (axes.yaxis, grid.shape[0])):
        axis.set_ticks(range(0, count, max(1, -(-count // 12))))
    axes.set_xlabel("head", color=QUIET, fontsize=9)
    axes.set_ylabel("layer", color=QUIET, fontsize=9)
    axes.tick_params(colors=QUIET, labelsize=8, length=0)
    axes.spines[:].set_color(LINE)
    first, second = view.maps()
    difference = view.difference()
    most = max(0.1, float(difference.nan_to_num(0).abs().max()))
    both = f"{view._names[1]} − {view._names[0]}"
    pictures = ((view._names[0], first), (view._names[1], second), (both, difference))
    for i, (name, values) in enumerate(pictures):
        axes = figure.add_axes((0.285 + 0.245 * i, 0.06, 0.205, 0.56))
        shown = values.double().numpy().copy()
        if view._kinds[kind]["causal"]:
            for query in range(len(shown)):
                shown[query, query + 1 :] = float("nan")
        axes.set_facecolor(BLOCKED)
        signs = i == 2
        axes.imshow(
            shown, interpolation="nearest", aspect="auto", vmin=-most if signs else 0,
            vmax=most if signs else 1,
            cmap=colour_map("DIVERGING_LIGHT") if signs else colour_map(),
        )  # fmt: skip
        _label(axes, view, kind, labelled=i == 0)
        axes.set_xlabel(name, color=QUIET, fontsize=9, parse_math=False)
        if view.selected is not None:
            query, key = view.selected
            x, w = (-0.5, shown.shape[1]) if key is None else (key - 0.5, 1)
            y, h = (-0.5, shown.shape[0]) if query is None else (query - 0.5, 1)
            axes.add_patch(
                Rectangle((x, y), w, h, fill=False, edgecolor=ACCENT, linewidth=2, zorder=5)
            )
    return figure


def _label(axes, view: CompareView, kind: str, *, labelled: bool) -> None:
    queries, keys = view._data.queries[kind].names, view._data.keys[kind].names
    axes.xaxis.tick_top()
    style = dict(family=MONO, parse_math=False)
    for axis, names, shown in ((axes.xaxis, keys, True), (axes.yaxis, queries, labelled)):
        if len(names) > 40:
            continue
        cut = [(n if len(n) <= 11 else n[:10] + "…") if shown else "" for n in names]
        axis.set_ticks(range(len(names)), cut, fontsize=8 if len(names) <= 20 else 6, **style)
    for label in axes.get_xticklabels():
        label.set(rotation=60, ha="left", rotation_mode="anchor")
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_color(LINE)
