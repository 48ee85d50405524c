"""The still picture of a PositionView."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import torch

from .colours import BLOCKED, LINE, QUIET, colour_map, head_colours
from .head_figure import MONO, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .position_view import PositionView

NAMES = {
    "sinusoidal": "sinusoidal",
    "learned": "learned",
    "rotary": "rotary",
    "alibi": "ALiBi",
    "relative": "T5 relative",
    "none": "none",
}


def position_figure(view: PositionView) -> Figure:
    """The encoding, its curve by distance, and a head's weights before and after the test."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.4), facecolor="white")
    FigureCanvasAgg(figure)
    write(figure, 0.02, 0.97, f"{view._title} · {NAMES[view.scheme]}", size=12, weight="bold")
    write(figure, 0.02, 0.905, "\n".join(textwrap.wrap(view.sentence, 125)[:2]), size=10)
    _draw_encoding(figure.add_axes((0.055, 0.12, 0.22, 0.6)), view)
    _draw_distances(figure.add_axes((0.355, 0.12, 0.25, 0.6)), view)
    before, after = view.weights()
    end = 1.0 if float(torch.maximum(before, after).max()) > 0.5 else None
    names = view._given["words"] if view._from_model else view._words["names"]
    moved = view._shown_shift
    last = len(names) - 1
    titles = [f"positions 0–{last}", f"positions {moved}–{moved + last}"]
    if view.test == "shuffle":
        titles = ["as written", "shuffled, put back"]
    for place, weights, title in zip((0.685, 0.845), (before, after), titles, strict=True):
        axes = figure.add_axes((place, 0.12, 0.14, 0.5))
        _draw_weights(axes, weights, names, title, end, labelled=place < 0.7, causal=view._causal)
    return figure


def _draw_encoding(axes, view: PositionView) -> None:
    found = view.encoding()
    axes.set_facecolor(BLOCKED)
    if found is None:
        write(axes, 0.5, 0.5, "nothing is added", size=10, transform=axes.transAxes, ha="center")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(LINE)
        return
    bias = found.dim() == 3
    shown = found[view._head] if bias else found.cos() if view.scheme == "rotary" else found
    largest = 1.0 if view.scheme in ("sinusoidal", "rotary") else float(shown.abs().max()) or 1.0
    if view.scheme == "learned":  # a few dimensions of a trained table are far larger
        largest = float(shown.abs().flatten().double().quantile(0.995))
    values = shown.double().numpy().copy()
    if bias and view._causal:
        for query in range(len(values)):
            values[query, query + 1 :] = float("nan")
    axes.imshow(
        values, cmap=colour_map("DIVERGING_LIGHT"), vmin=-largest, vmax=largest, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.set_ylabel("query" if bias else "position", color=QUIET, fontsize=9)
    column = "key" if bias else "pair" if view.scheme == "rotary" else "dimension"
    axes.set_xlabel(column, color=QUIET, fontsize=9)
    title = {"rotary": "cosine of the angle"}.get(
        view.scheme, f"added by head {view._head}" if bias else "added to the token"
    )
    _finish(axes, title)


def _draw_distances(axes, view: PositionView) -> None:
    distances, values = view.by_distance()
    colours = head_colours()
    if view.scheme == "learned":
        axes.fill_between(distances, values[1], values[2], color=colours[0], alpha=0.2, linewidth=0)
        axes.plot(distances, values[0], color=colours[0], linewidth=1.6)
    else:
        for head, line in enumerate(values):
            thick = 2.4 if len(values) > 1 and head == view._head else 1.4
            name = f"head {head}" if len(values) > 1 else None
            colour = colours[head % len(colours)]
            axes.plot(distances, line, color=colour, linewidth=thick, label=name)
        if 1 < len(values) <= 8:
            axes.legend(frameon=False, fontsize=8)
    axes.set_xlabel("key − query, tokens", color=QUIET, fontsize=9)
    axes.grid(color=LINE, linewidth=0.5)
    title = {
        "rotary": "mean cosine over the pairs",
        "alibi": "added to the score",
        "relative": "added to the score",
        "none": "by distance: nothing",
    }.get(view.scheme, "dot product of two positions")
    _finish(axes, title)


def _draw_weights(axes, weights, names, title, end, *, labelled, causal) -> None:
    shown = weights.double().numpy().copy()
    if causal:
        for query in range(len(shown)):
            shown[query, query + 1 :] = float("nan")
    axes.set_facecolor(BLOCKED)
    axes.imshow(shown, cmap=colour_map(), vmin=0, vmax=end, interpolation="nearest")
    if len(names) <= 16:
        style = dict(fontsize=8, family=MONO, parse_math=False)
        cut = [n if len(n) <= 9 else n[:8] + "…" for n in names]
        axes.set_xticks(range(len(names)), cut, rotation=90, **style)
        axes.set_yticks(range(len(names)), cut if labelled else [""] * len(names), **style)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlabel(title, color=QUIET, fontsize=9)
    axes.spines[:].set_color(LINE)


def _finish(axes, title: str) -> None:
    axes.set_title(title, fontsize=9, color=QUIET, loc="left")
    axes.tick_params(colors=QUIET, labelsize=8, length=0)
    axes.spines[:].set_color(LINE)
