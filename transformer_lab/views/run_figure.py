"""The still picture of a run at one of its steps."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from .colours import ACCENT, INK, LINE, QUIET, head_colours
from .head_figure import draw_heads, draw_map, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .replay import Replay


def run_figure(view: Replay, *, title: str) -> Figure:
    """Loss above the scores of every head, the present step marked; every head, and the chosen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.6), facecolor="white")
    FigureCanvasAgg(figure)
    kind, layer, head = view.shown
    write(figure, 0.02, 0.97, f"{title} · step {view.step}", size=12, weight="bold")
    write(figure, 0.02, 0.905, "\n".join(textwrap.wrap(view.run_sentence, 125)[:2]), size=10)
    curve = np.frombuffer(view._curve, dtype="<f4").reshape(-1, 2)
    axes = figure.add_axes((0.06, 0.52, 0.3, 0.24))
    axes.plot(curve[:, 0], curve[:, 1], color=head_colours()[0], linewidth=1.2)
    _finish(axes, view, "loss, nats a token")
    axes = figure.add_axes((0.06, 0.12, 0.3, 0.3))
    if view._shown_measure:
        scores = view.score()
        colours = head_colours()
        heads = scores.shape[2]
        for at in range(scores.shape[1] * heads):
            chosen = divmod(at, heads) == (layer, head)
            axes.plot(
                view._steps, scores[:, at // heads, at % heads].tolist(),
                color=ACCENT if chosen else colours[at % len(colours)], linewidth=2.6 if chosen else 1,
                alpha=1 if chosen else 0.7,
            )  # fmt: skip
    _finish(axes, view, view._shown_measure)
    axes.set_xlabel("step", color=QUIET, fontsize=9)
    draw_heads(figure.add_axes((0.44, 0.1, 0.2, 0.62)), view._data.thumbnail(kind), layer, head)
    axes = figure.add_axes((0.72, 0.1, 0.27, 0.6))
    draw_map(
        axes, view._shown_map(), view._data.queries[kind], view._data.keys[kind],
        view._kinds[kind]["causal"], (), None,
    )  # fmt: skip
    axes.set_xlabel(f"layer {layer}, head {head}", color=INK, fontsize=9)
    axes.xaxis.set_label_position("bottom")
    return figure


def _finish(axes, view: Replay, name: str) -> None:
    axes.axvline(view.step, color=ACCENT, linewidth=1)
    axes.set_xlim(0, max(1, view._last_step))
    axes.set_title(name, fontsize=9, color=QUIET, loc="left")
    axes.tick_params(colors=QUIET, labelsize=8, length=0)
    axes.grid(color=LINE, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(LINE)
