"""The marks of heads that only still pictures have: every head small, and routes through the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared.colours import ACCENT, EDITED, INK, LINE, QUIET, colour_map, head_colours
from ..shared.figures import MONO, frame, write
from .scene import CUT, Axis, Routes, Thumbnails, as_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDEST = 7.0  # points of a line


def draw_thumbnails(axes: Axes, mark: Thumbnails) -> None:
    from matplotlib.colors import PowerNorm

    small = as_array(mark.values).astype(float)
    layers, heads, height, width = small.shape
    gap = max(1, width // 12)
    sheet = np.pad(small, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    sheet = sheet.transpose(0, 2, 1, 3).reshape(layers * (height + gap), heads * (width + gap))
    axes.imshow(
        sheet[:-gap, :-gap], cmap=colour_map(), norm=PowerNorm(0.5, 0, 1, clip=True),
        interpolation="nearest", aspect=width / height,
    )  # fmt: skip
    axes.set_facecolor(LINE)
    down, across = height + gap, width + gap

    def outline(layer: int, head: int, line: float, colour: str) -> None:
        axes.add_patch(
            frame(head * across - 1, layer * down - 1, width + 1, height + 1, line, colour)
        )

    outline(*mark.chosen, 2, ACCENT)
    for layer, head in mark.off:
        left, top = head * across, layer * down
        for xs in ((left, left + width - 1), (left + width - 1, left)):
            axes.plot(xs, (top, top + height - 1), color=EDITED, linewidth=1.6)
        outline(layer, head, 1.5, EDITED)
    step = max(1, -(-max(heads, layers) // 16))
    for side, count, pitch, size in (
        (axes.xaxis, heads, across, width),
        (axes.yaxis, layers, down, height),
    ):
        every = range(0, count, step)
        side.set_ticks([i * pitch + size / 2 for i in every], [str(i) for i in every])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8, colors=QUIET, pad=2)
    axes.spines[:].set_visible(False)


def draw_routes(axes: Axes, mark: Routes) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    stays, stream, mlps = (as_array(x) for x in (mark.stays, mark.stream, mark.mlps))
    layers, n = mlps.shape
    carried = [abs(value) for value in mark.values]
    most = max(float(np.abs(stays).max()), *carried, 1e-9)
    least = min(carried, default=most)
    for layer, at in np.argwhere(np.abs(stays) >= least).tolist():
        axes.plot(
            [at, at], [layer, layer + 1], color=QUIET, alpha=0.45, solid_capstyle="butt",
            linewidth=0.6 + WIDEST * abs(stays[layer, at]) / most,
        )  # fmt: skip
    colours = head_colours()

    def line(place: Sequence[int], **style: Any) -> None:
        layer, head, query, key = place
        off = 0.35 * ((head + 0.5) / mark.n_heads - 0.5) * (2 if query == key else 1)
        way = [
            (key, layer),
            (key + off, layer + 0.5),
            (query + off, layer + 0.5),
            (query, layer + 1),
        ]
        codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
        axes.add_patch(PathPatch(Path(way, codes), fill=False, **style))

    for place, value in zip(mark.places, mark.values, strict=True):
        inside = mark.heads is None or (place[0], place[1]) in mark.heads
        line(
            place, edgecolor=colours[place[1] % len(colours)], alpha=0.85 if inside else 0.15,
            linewidth=0.6 + WIDEST * abs(value) / most, linestyle="--" if value < 0 else "-",
        )  # fmt: skip
    for cut in mark.cuts:
        line(cut, edgecolor=EDITED, linewidth=1.5, linestyle=":")
    table, largest = colour_map("diverging_light"), max(float(np.abs(stream).max()), 1e-9)
    dots: dict[str, Any] = dict(edgecolors=QUIET, linewidths=0.6, zorder=3)
    for level, row in enumerate(stream / largest):
        size = 4 + 70 * np.abs(row)
        axes.scatter(range(n), [level] * n, s=size, c=table(0.5 + 0.5 * row), **dots)
        axes.axhline(level, color=LINE, linewidth=0.5, zorder=0)
    for layer, at in np.argwhere(np.abs(mlps) >= least).tolist():
        part = float(mlps[layer, at]) / largest
        colour = [table(0.5 + 0.5 * part)]
        axes.scatter([at], [layer + 0.84], s=10 + 60 * abs(part), c=colour, marker="s", **dots)
    write(axes, mark.at, layers + 0.12, mark.says, size=9, ha="right", va="bottom")
    axes.set_xlim(-0.7, n - 0.3)
    axes.set_ylim(-0.15, layers + 0.45)
    names = Axis("", mark.tokens, tokens=True).names(n, CUT)
    axes.set_xticks(
        range(n), names, rotation=55, ha="right", fontsize=7, family=MONO, parse_math=False
    )  # fmt: skip
    axes.set_yticks(
        [i + 0.5 for i in range(layers)], [f"layer {i}" for i in range(layers)], fontsize=8
    )
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
