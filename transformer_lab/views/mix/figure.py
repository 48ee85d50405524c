"""The still picture of a MixView."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .colours import ACCENT, INK, LINE, QUIET, head_colours
from .head_figure import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .mix_view import MixView


def mix_figure(view: MixView) -> Figure:
    """Scores, weights, and the mixture of the values."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    words, weights = view._words, view.weights
    figure = Figure(figsize=(10.5, 1.6 + 0.36 * max(6, len(words))), facecolor="white")
    FigureCanvasAgg(figure)
    write(figure, 0.02, 0.955, view._title, size=12, weight="bold")
    write(figure, 0.02, 0.88, view.sentence, size=10)
    colour = head_colours()[0]
    divided = f"scores ÷ √{view.d}" if view.d > 1 else "scores"
    scaled = [s / math.sqrt(view.d) for s in view.scores]
    for left, title, numbers in ((0.12, divided, scaled), (0.42, "weights", weights)):
        axes = figure.add_axes((left, 0.12, 0.22, 0.62))
        bars = [0 if i in view.hidden else n for i, n in enumerate(numbers)]
        axes.barh(range(len(words)), bars, color=colour, height=0.6)
        for i, number in enumerate(bars):
            said = "hidden" if i in view.hidden else f"{number:.2f}"
            axes.text(number, i, f" {said} ", va="center", fontsize=8, color=INK,
                      ha="left" if number >= 0 else "right")  # fmt: skip
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        axes.set_yticks(range(len(words)), words if left < 0.2 else [], parse_math=False)
        axes.invert_yaxis()
        axes.margins(x=0.25)
        _quiet(axes)
    axes = figure.add_axes((0.72, 0.12, 0.26, 0.62))
    for (x, y), weight, word in zip(view._values, weights, words, strict=True):
        axes.scatter([x], [y], s=20 + 500 * weight, color=colour, alpha=0.75, linewidths=0)
        axes.annotate(word, (x, y), xytext=(6, 6), textcoords="offset points", fontsize=9,
                      color=INK, parse_math=False)  # fmt: skip
    axes.scatter(*[[v] for v in view.mixture], marker="D", s=70, color=ACCENT, zorder=3)
    axes.set_title("values, and their mixture ◆", loc="left", fontsize=10, color=INK)
    axes.margins(0.2)
    _quiet(axes)
    return figure


def _quiet(axes) -> None:
    axes.tick_params(colors=QUIET, labelsize=9)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(LINE)
