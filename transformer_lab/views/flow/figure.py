"""The still picture of a FlowView."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..shared.colours import EDITED, INK, LINE, QUIET, colour_map, head_colours
from ..shared.figures import MONO, blank, wrapped, write
from .data import FlowFound
from .words import with_sign

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST = 7.0  # points


@dataclass(frozen=True)
class FlowScene:
    """What the picture is drawn from; `shown`: so many of the largest edges; `heads`: those that a
    circuit has, or None; `circuit`: what is said of it."""

    title: str
    sentence: str
    tokens: Sequence[str]
    found: FlowFound
    shown: int
    name: str
    heads: frozenset[tuple[int, int]] | None
    circuit: str


def flow_figure(scene: FlowScene) -> Figure:
    flow, n = scene.found.flow, len(scene.tokens)
    layers = len(flow.mlps)
    width, tall = max(8.5, min(22, 1.6 + 0.34 * n)), max(2.6, min(12, 0.95 * layers))
    told = wrapped(f"{scene.sentence} {scene.circuit}".strip(), int(12.5 * width), 5)
    height = tall + 1.5 + 0.17 * (1 + told.count("\n"))
    figure = blank(width, height)
    write(figure, 0.02, 1 - 0.15 / height, f"{scene.title} · flow", size=12, weight="bold")
    write(figure, 0.02, 1 - 0.45 / height, told, size=10)
    axes = figure.add_axes((1.1 / width, 0.75 / height, (width - 1.4) / width, tall / height))
    _draw(axes, scene)
    return figure


def _draw(axes: Axes, scene: FlowScene) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    flow, found = scene.found.flow, scene.found
    layers, n = len(flow.mlps), len(scene.tokens)
    stays, stream = flow.stays.numpy(), flow.stream.numpy()
    most = max(float(np.abs(stays).max()), float(flow.edges.abs().max()), 1e-9)
    least = float(found.values[: scene.shown].abs().min()) if scene.shown else most
    for layer in range(layers):
        for at in range(n):
            if abs(value := stays[layer, at]) >= least:
                axes.plot(
                    [at, at], [layer, layer + 1], color=QUIET, alpha=0.45, solid_capstyle="butt",
                    linewidth=0.6 + WIDEST * abs(value) / most,
                )  # fmt: skip
    heads, colours = flow.edges.shape[1], head_colours()

    def line(layer: int, head: int, query: int, key: int, **style: object) -> None:
        off = 0.35 * ((head + 0.5) / heads - 0.5) * (2 if query == key else 1)
        way = [
            (key, layer),
            (key + off, layer + 0.5),
            (query + off, layer + 0.5),
            (query, layer + 1),
        ]
        codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
        axes.add_patch(PathPatch(Path(way, codes), fill=False, **style))  # type: ignore[arg-type]

    for place, value in zip(
        found.places[: scene.shown].tolist(), found.values[: scene.shown].tolist(), strict=True
    ):
        inside = scene.heads is None or (place[0], place[1]) in scene.heads
        line(
            *place, edgecolor=colours[place[1] % len(colours)], alpha=0.85 if inside else 0.15,
            linewidth=0.6 + WIDEST * abs(value) / most, linestyle="--" if value < 0 else "-",
        )  # fmt: skip
    for cut in found.cuts:
        line(*cut, edgecolor=EDITED, linewidth=1.5, linestyle=":")
    table, largest = colour_map("diverging_light"), max(float(np.abs(stream).max()), 1e-9)
    for level in range(layers + 1):
        part = stream[level] / largest
        axes.scatter(
            range(n), [level] * n, s=4 + 70 * np.abs(part), c=table(0.5 + 0.5 * part),
            edgecolors=QUIET, linewidths=0.6, zorder=3,
        )  # fmt: skip
    for layer, at in (flow.mlps.abs() >= least).nonzero().tolist():
        part = float(flow.mlps[layer, at]) / largest
        axes.scatter(
            [at], [layer + 0.84], s=10 + 60 * abs(part), c=[table(0.5 + 0.5 * part)], marker="s",
            edgecolors=QUIET, linewidths=0.6, zorder=3,
        )  # fmt: skip
    axes.text(
        flow.position, layers + 0.12, f"{scene.name} {with_sign(flow.logit)}", ha="right", va="bottom",
        fontsize=9, color=INK, parse_math=False,
    )  # fmt: skip
    names = [token if len(token) <= 10 else token[:9] + "…" for token in scene.tokens]
    axes.set_xticks(
        range(n), names, rotation=55, ha="right", fontsize=7, family=MONO, parse_math=False
    )
    axes.set_yticks(
        [i + 0.5 for i in range(layers)], [f"layer {i}" for i in range(layers)], fontsize=8
    )
    axes.set_xlim(-0.7, n - 0.3)
    axes.set_ylim(-0.15, layers + 0.45)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    for level in range(layers + 1):
        axes.axhline(level, color=LINE, linewidth=0.5, zorder=0)
