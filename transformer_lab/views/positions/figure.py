"""The still picture of a PositionView."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..shared.colours import BLOCKED, LINE, QUIET, colour_map, head_colours
from ..shared.figures import MONO, blank, wrapped, write
from .schemes import known

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class PositionScene:
    """What the picture is drawn from.

    encoding, distances: as PositionView.encoding() and .by_distance() give them; weights: before and
    after the test, [query, key] each, under these titles.
    """

    title: str
    sentence: str
    scheme: str
    head: int
    causal: bool
    encoding: Tensor | None
    distances: tuple[Tensor, Tensor]
    weights: tuple[Tensor, Tensor]
    titles: tuple[str, str]
    names: Sequence[str]


def position_figure(scene: PositionScene) -> Figure:
    """The encoding, its curve by distance, and a head's weights before and after the test."""
    figure = blank(10.5, 4.4)
    write(figure, 0.02, 0.97, f"{scene.title} · {known(scene.scheme).name}", size=12, weight="bold")
    write(figure, 0.02, 0.905, wrapped(scene.sentence, 125, 2), size=10)
    _draw_encoding(figure.add_axes((0.055, 0.12, 0.22, 0.6)), scene)
    _draw_distances(figure.add_axes((0.355, 0.12, 0.25, 0.6)), scene)
    end = 1.0 if float(torch.maximum(*scene.weights).max()) > 0.5 else None
    for place, weights, title in zip((0.685, 0.845), scene.weights, scene.titles, strict=True):
        axes = figure.add_axes((place, 0.12, 0.14, 0.5))
        _draw_weights(
            axes, weights, scene.names, title, end, labelled=place < 0.7, causal=scene.causal
        )
    return figure


def _draw_encoding(axes, scene: PositionScene) -> None:
    found, scheme = scene.encoding, known(scene.scheme)
    axes.set_facecolor(BLOCKED)
    if found is None:
        write(axes, 0.5, 0.5, scheme.nothing, size=10, transform=axes.transAxes, ha="center")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(LINE)
        return
    shown = scheme.shown(found, scene.head)
    largest = scheme.largest(shown)
    values = shown.double().numpy().copy()
    if scheme.row == "query" and scene.causal:
        for query in range(len(values)):
            values[query, query + 1 :] = float("nan")
    axes.imshow(
        values, cmap=colour_map("diverging_light"), vmin=-largest, vmax=largest, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.set_ylabel(scheme.row, color=QUIET, fontsize=9)
    axes.set_xlabel(scheme.column, color=QUIET, fontsize=9)
    _finish(axes, scheme.added.format(head=scene.head))


def _draw_distances(axes, scene: PositionScene) -> None:
    distances, values = scene.distances
    scheme = known(scene.scheme)
    colours = head_colours()
    if scheme.banded:
        axes.fill_between(distances, values[1], values[2], color=colours[0], alpha=0.2, linewidth=0)
        axes.plot(distances, values[0], color=colours[0], linewidth=1.6)
    else:
        for head, line in enumerate(values):
            thick = 2.4 if len(values) > 1 and head == scene.head else 1.4
            name = f"head {head}" if len(values) > 1 else None
            colour = colours[head % len(colours)]
            axes.plot(distances, line, color=colour, linewidth=thick, label=name)
        if 1 < len(values) <= 8:
            axes.legend(frameon=False, fontsize=8)
    axes.set_xlabel("key − query, tokens", color=QUIET, fontsize=9)
    axes.grid(color=LINE, linewidth=0.5)
    _finish(axes, scheme.by_distance_title)


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
