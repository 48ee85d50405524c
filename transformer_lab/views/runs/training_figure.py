"""The still picture of a TrainingView: the loss, and the heads on the probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .colours import INK, LINE, QUIET, head_colours
from .head_figure import draw_heads, draw_map, write

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def training_figure(
    *,
    title: str,
    sentence: str,
    curve: np.ndarray,
    evals: np.ndarray,
    heads: dict[str, Any] | None,
) -> Figure:
    """curve, evals [point, (step, loss)]; heads: what the map and the grid are drawn from."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.4 if heads is None else 4.6), facecolor="white")
    FigureCanvasAgg(figure)
    write(figure, 0.02, 0.97, title, size=12, weight="bold")
    write(figure, 0.02, 0.905, sentence, size=10)
    axes = figure.add_axes((0.07, 0.13, 0.9 if heads is None else 0.3, 0.66))
    _draw_curve(axes, curve, evals)
    if heads is None:
        return figure
    layer, head = heads.pop("layer"), heads.pop("head")
    draw_heads(figure.add_axes((0.44, 0.1, 0.2, 0.62)), heads.pop("thumbnails"), layer, head)
    axes = figure.add_axes((0.72, 0.1, 0.27, 0.6))
    draw_map(axes, **heads, hidden=(), selected=None)
    axes.set_xlabel(f"layer {layer}, head {head}", color=INK, fontsize=9)
    axes.xaxis.set_label_position("bottom")
    return figure


def _draw_curve(axes, curve, evals) -> None:
    train, held_out = head_colours()[:2]
    if len(curve):
        axes.plot(curve[:, 0], curve[:, 1], color=train, linewidth=1.2, label="training")
    else:
        write(axes, 0.5, 0.5, "no step yet", size=10, transform=axes.transAxes, ha="center")
    if len(evals):
        axes.plot(evals[:, 0], evals[:, 1], "o-", color=held_out, markersize=4, label="held out")
    if len(curve) or len(evals):
        axes.legend(frameon=False, fontsize=9)
    axes.set_xlabel("step", color=QUIET, fontsize=9)
    axes.set_ylabel("loss, nats a token", color=QUIET, fontsize=9)
    axes.tick_params(colors=QUIET, labelsize=8)
    axes.grid(color=LINE, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(LINE)
