"""The still picture of an EmbeddingView: two projections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..shared.colours import ACCENT, INK, LINE, QUIET, colour_map, head_colours
from ..shared.figures import blank, shortened, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 40  # points up to which each has its name beside it
SHOWN_CATEGORIES = 12


@dataclass(frozen=True, eq=False)
class CloudScene:
    """What the picture is drawn from.

    coordinates [point, 3] of the row on view; paths [row, point, 3], or None where paths are not
    shown; shares: of the variance, [3]; norms, kept [point]; colours: a number or a category of each
    point, `by` name; chosen: a point; where: the row, in words.
    """

    title: str
    sentence: str
    coordinates: Tensor = field(repr=False)
    paths: Tensor | None = field(repr=False)
    shares: Sequence[float]
    norms: Tensor = field(repr=False)
    kept: Tensor = field(repr=False)
    tokens: Sequence[str]
    positions: Sequence[int]
    by: str
    colours: Sequence[Any]
    chosen: int | None
    where: str
    rows: Sequence[str]


def component(scene: CloudScene, number: int) -> str:
    """An axis in words."""
    return f"component {number + 1} ({100 * scene.shares[number]:.0f} %)"


def numeric(scene: CloudScene) -> bool:
    """Whether colours are numbers, not categories."""
    return scene.by in ("position", "length")


def categories(scene: CloudScene) -> list[str]:
    """In the order in which they come."""
    return list(dict.fromkeys(map(str, scene.colours)))


def cloud_figure(scene: CloudScene) -> Figure:
    figure = blank(10.5, 5.4)
    write(figure, 0.02, 0.97, scene.title, size=12, weight="bold")
    write(figure, 0.02, 0.925, shortened(scene.sentence, 2), size=10)
    paints, colours = _paints(scene)
    for left, vertical in ((0.07, 1), (0.47, 2)):
        axes = figure.add_axes((left, 0.1, 0.33, 0.64))
        _project(axes, scene, vertical, paints)
    if colours is not None:
        scale = figure.colorbar(colours, cax=figure.add_axes((0.84, 0.14, 0.015, 0.56)))
        scale.set_label(scene.by, color=QUIET, fontsize=9)
        scale.ax.tick_params(labelsize=8, colors=QUIET)
        return figure
    names = categories(scene)
    write(figure, 0.82, 0.74, f"colour: {scene.by}", size=9, color=QUIET)
    for i, name in enumerate(names[:SHOWN_CATEGORIES]):
        y = 0.68 - 0.045 * i
        cut = name if len(name) <= 16 else name[:15] + "…"
        write(figure, 0.82, y, "●", size=11, color=head_colours()[i % 16])
        write(figure, 0.842, y, cut, size=9)
    if len(names) > SHOWN_CATEGORIES:
        more = f"and {len(names) - SHOWN_CATEGORIES} more"
        write(figure, 0.82, 0.68 - 0.045 * SHOWN_CATEGORIES, more, size=9, color=QUIET)
    return figure


def _paints(scene: CloudScene) -> tuple[Any, Any]:
    """A colour for each point and, for numbers, what a colour bar is made of."""
    if not numeric(scene):
        place = {name: i for i, name in enumerate(categories(scene))}
        return [head_colours()[place[str(c)] % 16] for c in scene.colours], None
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values = np.asarray(scene.colours, dtype=float)
    mappable = ScalarMappable(Normalize(values.min(), values.max()), colour_map("viridis"))
    return mappable.to_rgba(values), mappable


def _project(axes: Any, scene: CloudScene, vertical: int, paints: Any) -> None:
    at = scene.coordinates.numpy()
    if scene.paths is not None:
        for point, line in enumerate(scene.paths.numpy().transpose(1, 0, 2)):
            chosen = point == scene.chosen
            axes.plot(
                line[:, 0], line[:, vertical], color=ACCENT if chosen else paints[point],
                linewidth=2 if chosen else 0.8, alpha=1 if chosen else 0.5, zorder=3 if chosen else 1,
            )  # fmt: skip
    small = len(at) > 200
    axes.scatter(at[:, 0], at[:, vertical], s=8 if small else 26, c=paints, linewidths=0, zorder=2)
    if scene.chosen is not None:
        x, y = at[scene.chosen, 0], at[scene.chosen, vertical]
        axes.scatter([x], [y], s=110, facecolors="none", edgecolors=ACCENT, linewidths=2, zorder=4)
    named = range(len(at)) if len(at) <= NAMED else [] if scene.chosen is None else [scene.chosen]
    for point in named:
        axes.annotate(
            scene.tokens[point], at[point, [0, vertical]], xytext=(4, 4), fontsize=7.5, color=INK,
            textcoords="offset points", parse_math=False, annotation_clip=True,
        )  # fmt: skip
    axes.margins(0.12)
    axes.set_xlabel(component(scene, 0), color=QUIET, fontsize=9)
    axes.set_ylabel(component(scene, vertical), color=QUIET, fontsize=9)
    axes.tick_params(labelsize=8, colors=QUIET, length=0)
    axes.grid(color=LINE, linewidth=0.5)
    axes.spines[:].set_color(LINE)
