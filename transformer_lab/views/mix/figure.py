"""The still picture of a MixView."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..shared.colours import ACCENT, INK, LINE, QUIET, head_colours
from ..shared.figures import blank, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class MixScene:
    """What the picture is drawn from; a score, a weight and a value (x, y) for each word."""

    title: str
    sentence: str
    words: Sequence[str]
    scores: Sequence[float]
    d: int
    weights: Sequence[float]
    hidden: Sequence[int]
    values: Sequence[Sequence[float]]
    mixture: tuple[float, float]


def mix_figure(scene: MixScene) -> Figure:
    """Scores, weights, and the mixture of the values."""
    words, weights = scene.words, scene.weights
    figure = blank(10.5, 1.6 + 0.36 * max(6, len(words)))
    write(figure, 0.02, 0.955, scene.title, size=12, weight="bold")
    write(figure, 0.02, 0.88, scene.sentence, size=10)
    colour = head_colours()[0]
    divided = f"scores ÷ √{scene.d}" if scene.d > 1 else "scores"
    scaled = [s / math.sqrt(scene.d) for s in scene.scores]
    for left, title, numbers in ((0.12, divided, scaled), (0.42, "weights", weights)):
        axes = figure.add_axes((left, 0.12, 0.22, 0.62))
        bars = [0 if i in scene.hidden else n for i, n in enumerate(numbers)]
        axes.barh(range(len(words)), bars, color=colour, height=0.6)
        for i, number in enumerate(bars):
            said = "hidden" if i in scene.hidden else f"{number:.2f}"
            axes.text(number, i, f" {said} ", va="center", fontsize=8, color=INK,
                      ha="left" if number >= 0 else "right")  # fmt: skip
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        axes.set_yticks(range(len(words)), words if left < 0.2 else [], parse_math=False)
        axes.invert_yaxis()
        axes.margins(x=0.25)
        _quiet(axes)
    axes = figure.add_axes((0.72, 0.12, 0.26, 0.62))
    for (x, y), weight, word in zip(scene.values, weights, words, strict=True):
        axes.scatter([x], [y], s=20 + 500 * weight, color=colour, alpha=0.75, linewidths=0)
        axes.annotate(word, (x, y), xytext=(6, 6), textcoords="offset points", fontsize=9,
                      color=INK, parse_math=False)  # fmt: skip
    axes.scatter(*[[v] for v in scene.mixture], marker="D", s=70, color=ACCENT, zorder=3)
    axes.set_title("values, and their mixture ◆", loc="left", fontsize=10, color=INK)
    axes.margins(0.2)
    _quiet(axes)
    return figure


def _quiet(axes) -> None:
    axes.tick_params(colors=QUIET, labelsize=9)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(LINE)
