"""Measured points with texts on hover: a plotly figure, and a still image of the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

from transformer_lab.lessons.pictures.numbers import spelt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from transformer_lab.views.shared.plots import Plot


@dataclass(frozen=True)
class Mark:
    """One measurement.

    Args:
        x, y: its coordinates; x must be above 0, because its axis is logarithmic.
        words: the text that appears on hover.
    """

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class _Scene:
    """The content of both figures."""

    groups: dict[str, list[Mark]]
    laws: dict[str, tuple[Sequence[float], Sequence[float]]]
    title: str
    sentence: str
    x_name: str
    y_name: str


def marks(
    groups: Mapping[str, Sequence[Mark]],
    *,
    laws: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    title: str,
    sentence: str,
    x_name: str,
    y_name: str,
    theme: str = "page",
) -> Plot:
    """Points of several groups over a logarithmic x axis, each with a text that appears on hover.

    Args:
        groups: maps the name of each group to its points; a line joins them in the order of x.
        laws: maps the name of each curve to its x and y; curves have no points and are dashed.
        title, sentence: the texts above the figure.
        theme: "light" or "dark"; "page" follows the page that shows the figure.

    Raises:
        ValueError: if there is no point, or a point whose x is not above 0.
    """
    shown = {
        name: sorted(points, key=lambda mark: mark.x) for name, points in groups.items() if points
    }
    if not shown:
        raise ValueError(
            "groups must contain at least one point, got none; pass {name: [Mark(x, y, words)]}"
        )
    for name, points in shown.items():
        if points[0].x <= 0:
            raise ValueError(
                f"x must be above 0 on a logarithmic axis, got {points[0].x} in {name}"
            )
    return _plotly(_Scene(shown, dict(laws or {}), title, spelt(sentence), x_name, y_name), theme)


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def spoken(value: float) -> str:
    """The label of a tick on a logarithmic axis, as a person would write it: 5,000 or 2 · 10¹⁰."""
    if 1e-3 <= value < 1e6:
        return f"{value:,.10g}"
    digits, power = f"{value:.0e}".split("e")
    return f"{digits} · 10{str(int(power)).translate(SUPERSCRIPTS)}"


def ticks(scene: _Scene) -> list[float]:
    """Ticks at 1, 2 and 5 times each power of ten, over the range of points and laws."""
    places = [mark.x for points in scene.groups.values() for mark in points]
    places += [float(x) for xs, _ in scene.laws.values() for x in xs]
    low, high = min(places) / 1.3, max(places) * 1.3
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [times * 10.0**power for power in powers for times in (1, 2, 5)]
    return [tick for tick in every if low <= tick <= high]


def _plotly(scene: _Scene, theme: str) -> Plot:
    from transformer_lab.views.shared import plots

    of_page = theme == "page"
    theme = "light" if of_page else theme
    figure = plots.Plot(
        title=scene.title, sentence=scene.sentence, theme=theme, still=partial(_still, scene)
    )
    colours: Any = plots.heads_of(theme)
    for i, (name, points) in enumerate(scene.groups.items()):
        figure.add_scatter(
            x=[mark.x for mark in points],
            y=[mark.y for mark in points],
            name=plots.said(name),
            mode="lines+markers" if len(points) > 1 else "markers",
            line=dict(color=colours[i % len(colours)], width=2),
            marker=dict(
                size=9 if len(points) > 1 else 13, symbol="circle" if len(points) > 1 else "star"
            ),
            customdata=[plots.said(mark.words) for mark in points],
            hovertemplate="%{customdata}<br>%{y:.3f}<extra></extra>",
        )
    for (name, (x, y)), dash in zip(scene.laws.items(), cycle(("dash", "dot"))):
        figure.add_scatter(
            x=list(map(float, x)),
            y=list(map(float, y)),
            name=plots.said(name),
            mode="lines",
            line=dict(
                color=plots.BOTH if of_page else plots.ink("quiet", theme), width=1.6, dash=dash
            ),
            hovertemplate=f"{plots.said(name)}: %{{y:.3f}}<extra></extra>",
        )
    named = ticks(scene)
    figure.update_layout(
        height=460,
        xaxis=dict(
            type="log", title_text=scene.x_name, tickvals=named, ticktext=list(map(spoken, named))
        ),
        yaxis_title_text=scene.y_name,
    )
    return plots.follow_page(figure) if of_page else figure


def _still(scene: _Scene) -> Figure:
    from transformer_lab.views.shared.colours import LINE, QUIET, head_colours
    from transformer_lab.views.shared.figures import blank, shortened, write

    figure = blank(8.5, 4.8)
    write(figure, 0.02, 0.97, scene.title, size=12, weight="bold")
    write(figure, 0.02, 0.91, shortened(scene.sentence, 2), size=10)
    axes = figure.add_axes((0.09, 0.13, 0.64, 0.62))
    for i, (name, points) in enumerate(scene.groups.items()):
        alone = len(points) == 1
        style: dict[str, Any] = dict(marker="*" if alone else "o", markersize=12 if alone else 5)
        style |= dict(color=head_colours()[i % 16], linewidth=0 if alone else 1.8, label=name)
        axes.plot([mark.x for mark in points], [mark.y for mark in points], **style)
    for (name, (x, y)), dash in zip(scene.laws.items(), cycle(("--", ":"))):
        axes.plot(list(x), list(y), color=QUIET, linewidth=1.4, linestyle=dash, label=name)
    axes.set_xscale("log")
    named = ticks(scene)
    axes.set_xticks(named, list(map(spoken, named)))
    axes.minorticks_off()
    axes.set_xlabel(scene.x_name, color=QUIET, fontsize=9)
    axes.set_ylabel(scene.y_name, color=QUIET, fontsize=9)
    axes.tick_params(colors=QUIET, labelsize=8, length=2)
    axes.grid(color=LINE, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(LINE)
    axes.legend(
        frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0
    )
    return figure
