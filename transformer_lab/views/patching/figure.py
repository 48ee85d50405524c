"""The still picture of a PatchingView."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...desk.grid import PatchingGrid
from ...edits.sites import OF_HEADS
from ..shared.colours import INK, LINE, QUIET, colour_map
from ..shared.figures import MONO, blank, frame, shortened, write
from .words import NAMES, Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 64  # positions up to which every one has its token
HATCHED = 4000  # cells


@dataclass(frozen=True, eq=False)
class PatchingScene:
    """What the picture is drawn from.

    grids: by site; chosen: (layer, column) of `site`; tokens: at the columns of positions; shared: how
    many heads share a column of a site.
    """

    title: str
    sentence: str
    grids: Mapping[str, PatchingGrid]
    site: str
    chosen: tuple[int, int]
    metric: Metric
    tokens: Sequence[str]
    shared: Mapping[str, int]

    @property
    def grid(self) -> PatchingGrid:
        return self.grids[self.site]

    @property
    def end(self) -> float:
        """The change at the end of the scale: what lies between the runs, or the largest there is."""
        if not self.metric.alike:
            return abs(self.metric.between)
        values = [grid.values.abs().nan_to_num().max() for grid in self.grids.values()]
        return float(max(values)) or 1.0

    def axis(self, site: str) -> str:
        """What stands along a site's columns."""
        if site not in OF_HEADS:
            return "position"
        return "head" if self.shared[site] == 1 else "key_value_head"

    def shown(self, site: str) -> np.ndarray:
        """Changes toward the other run, as a share of the scale, −1 … 1; NaN where nothing is."""
        sign = 1 if self.metric.alike else self.metric.sign
        return self.grids[site].values.double().numpy() * sign / self.end

    def measured(self, site: str) -> str:
        grid = self.grids[site]
        return f"{int((~grid.exact.isnan()).sum())} of {int(grid.there.sum())} measured"


def patching_figure(scene: PatchingScene) -> Figure:
    rows, sites = len(scene.grid.there), list(scene.grids)
    lines = math.ceil(len(sites) / 4)
    tall, small = min(5.0, max(1.4, 0.26 * rows)), min(1.3, max(0.7, 0.07 * rows))
    top = 1.75 if scene.axis(scene.site) == "position" else 1.2
    low = (small + 0.35) * lines + 0.1
    height = top + tall + 0.75 + low
    figure = blank(10.5, height)
    write(figure, 0.02, 1 - 0.15 / height, scene.title, size=12, weight="bold")
    write(figure, 0.02, 1 - 0.45 / height, shortened(scene.sentence, 2), size=10)
    axes = figure.add_axes((0.07, (low + 0.75) / height, 0.8, tall / height))
    _grid(axes, scene, scene.site, named=True)
    for i, site in enumerate(sites):
        y = low - (small + 0.35) * (i // 4 + 1) + 0.1
        place = (0.07 + 0.235 * (i % 4), y / height, 0.2, small / height)
        _grid(figure.add_axes(place), scene, site, named=False)
    return figure


def _grid(axes: Axes, scene: PatchingScene, site: str, *, named: bool) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    grid, shown = scene.grids[site], scene.shown(site)
    image = axes.imshow(
        shown, cmap=colour_map("diverging_light"), vmin=-1, vmax=1, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.spines[:].set_color(LINE)
    axes.tick_params(length=0, colors=INK, pad=2, labelsize=7)
    rows, columns = shown.shape
    step = max(1, -(-rows // (16 if named else 4)))
    axes.set_yticks(range(0, rows, step))
    layer, column = scene.chosen
    if not named:
        axes.set_xticks([])
        weight = "bold" if site == scene.site else "normal"
        told = f"{NAMES[site]} · {scene.measured(site)}"
        axes.set_title(told, fontsize=7.5, color=QUIET, loc="left", pad=3, weight=weight)
        if site == scene.site:
            axes.add_patch(frame(column - 0.5, layer - 0.5, 1, 1, 1.2))
        return
    cells = np.argwhere((grid.exact.isnan() & ~grid.estimate.isnan()).numpy())
    if len(cells) <= HATCHED:
        boxes = [Rectangle((x - 0.5, y - 0.5), 1, 1) for y, x in cells]
        axes.add_collection(
            PatchCollection(boxes, facecolor="none", edgecolor=QUIET, hatch="////", linewidth=0, alpha=0.45)
        )  # fmt: skip
    axes.add_patch(frame(column - 0.5, layer - 0.5, 1, 1, 1.8))
    axes.set_ylabel("layer ↓", color=QUIET, fontsize=9)
    if scene.axis(site) == "position":
        axes.xaxis.tick_top()
        step = -(-columns // NAMED)
        names = [word if len(word) <= 12 else word[:11] + "…" for word in scene.tokens[::step]]
        axes.set_xticks(range(0, columns, step), names, family=MONO, parse_math=False)
        for label in axes.get_xticklabels():
            label.set(rotation=60, ha="left", rotation_mode="anchor")
    else:
        axes.xaxis.tick_top()
        axes.set_xticks(range(0, columns, max(1, -(-columns // 32))))
    scale = axes.figure.colorbar(image, ax=axes, fraction=0.03, pad=0.015)
    amount = scene.metric.amount
    scale.set_ticks([-1, 0, 1], labels=[amount(-scene.end), "0", amount(scene.end)])
    scale.outline.set_edgecolor(LINE)  # type: ignore[operator]
    scale.ax.tick_params(labelsize=7, colors=QUIET, length=0)
    source = scene.metric.runs[0]
    scale.set_label(f"toward the {source} run", color=QUIET, fontsize=8)
    axes.set_xlabel(
        f"{NAMES[site]} · {scene.measured(site)}; hatched: estimates", color=QUIET, fontsize=8.5
    )
