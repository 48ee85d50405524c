"""Line charts with a few lines, each labelled at its end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from transformer_lab.lessons.pictures.picture import Picture
from transformer_lab.lessons.pictures.themes import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves(
    x: Sequence[float],
    lines: dict[str, Sequence[float]],
    *,
    title: str,
    x_name: str,
    y_name: str,
    alt: str,
    caption: str = "",
    log_x: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Picture:
    """Up to four lines, each labelled at its end rather than in a legend.

    Args:
        x: the x values, shared by all lines.
        lines: maps the name of each line to its y values, one per value of x.
        y_range: the ends of the y axis; by default it fits the lines.

    Raises:
        ValueError: if there is no line, or more than four.
    """
    if not 1 <= len(lines) <= 4:
        raise ValueError(
            f"lines must have 1 to 4 entries, got {len(lines)}; "
            "leave some out, or draw a second figure"
        )

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(5.4, 3.0))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_facecolor(theme.page)
        looks = (
            (theme.second, "-", "o"),
            (theme.accent, "-", "s"),
            (theme.quiet, "--", "^"),
            (theme.text, ":", "D"),
        )[: len(lines)]
        for y, (colour, dash, mark) in zip(lines.values(), looks, strict=True):
            axes.plot(x, y, dash, color=colour, marker=mark, markersize=4, linewidth=1.8)
        if log_x:
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(x), [f"{value:g}" for value in x])
            axes.minorticks_off()
        elif all(float(value).is_integer() for value in x):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
        if y_range:
            axes.set_ylim(*y_range)
        ends = [float(y[-1]) for y in lines.values()]
        low, high = axes.get_ylim()
        moves = _apart([(end - low) / (high - low) * 216 for end in ends], least=12)
        for name, end, move, (colour, *_) in zip(lines, ends, moves, looks, strict=True):
            axes.annotate(
                name,
                (x[-1], end),
                (8, move),
                textcoords="offset points",
                va="center",
                color=colour,
                fontsize=9.5,
                annotation_clip=False,
            )
        axes.grid(axis="y", color=theme.line, linewidth=0.5, alpha=0.6)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
        for spine in ("left", "bottom"):
            axes.spines[spine].set_color(theme.line)
        axes.tick_params(colors=theme.quiet, labelsize=9, length=3)
        axes.set_xlabel(x_name, color=theme.quiet, fontsize=9)
        axes.set_ylabel(y_name, color=theme.quiet, fontsize=9)
        axes.set_title(title, loc="left", color=theme.text, fontsize=10.5)
        return figure

    return Picture(draw, alt, caption)


def _apart(heights: Sequence[float], least: float) -> list[float]:
    """How far to move each label up, so that no two are closer than `least` and none is below 0; all
    in points."""
    moved = list(heights)
    order = sorted(range(len(moved)), key=lambda i: (moved[i], -i))
    for _ in range(20):
        for a, b in itertools.pairwise(order):
            short = least - (moved[b] - moved[a])
            if short > 0:
                moved[a] -= short / 2
                moved[b] += short / 2
    free = least / 2  # the labels of the x axis are below
    for i in order:
        moved[i] = max(moved[i], free)
        free = moved[i] + least
    return [new - old for new, old in zip(moved, heights, strict=True)]
