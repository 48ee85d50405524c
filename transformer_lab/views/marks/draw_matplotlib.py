"""Scenes as matplotlib figures: one function for each mark."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared.colours import (
    ACCENT,
    BLOCKED,
    INK,
    LINE,
    OTHER,
    PAPER,
    QUIET,
    colour_map,
    head_colours,
    palette,
)
from ..shared.figures import MONO, blank, frame, shortened, write
from ..shared.messages import fixed
from .draw_heads import draw_overlay, draw_routes, draw_thumbnails
from .scene import (
    CUT,
    Axis,
    Bars,
    Curves,
    Matrix,
    Note,
    Overlay,
    Points,
    Routes,
    Scene,
    Space,
    Strips,
    Thumbnails,
    Waterfall,
    as_array,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 10.5  # inches
NAMED = 40  # up to this many positions, all have labels
ROW = 0.24  # inches per row of a matrix
HATCHED = 4000  # most cells that are hatched
KEYS = 12  # categories in the legend
NUMBERS = 96  # most numbers of a vector drawn in a strip


def figure_of(scene: Scene, note: str = "") -> Figure:
    """Draw a scene as a still picture: its title and sentence above the panels, a note below."""
    groups = []  # of rows with the same widths, so that their panels line up
    for widths, alike in groupby(scene.panels, lambda row: [panel.width for panel in row]):
        shares, rows = np.array(widths) / sum(widths), list(alike)
        tall = [max(map(_height, (p.mark for p in row), shares)) for row in rows]
        groups.append((rows, widths, tall))
    heights = [sum(tall) for _, _, tall in groups]
    sentence = shortened(scene.sentence, 3)
    top = 0.55 + 0.17 * (1 + sentence.count("\n"))
    low = 0.26 if note else 0.0
    whole = top + sum(heights) + low
    figure = blank(WIDTH, whole)
    write(figure, 0.02, 1 - 0.12 / whole, scene.title, size=12, weight="bold")
    write(figure, 0.02, 1 - 0.42 / whole, sentence, size=10)
    if note:
        write(figure, 0.02, 0.2 / whole, note, size=10, color=QUIET)
    rect = (0.01, low / whole, 0.98, 1 - (top + low) / whole)
    figure.set_layout_engine("constrained", rect=rect)
    grid = figure.add_gridspec(len(groups), 1, height_ratios=heights)
    for at, (rows, widths, tall) in enumerate(groups):
        sizes = dict(width_ratios=widths, height_ratios=tall)
        inner = grid[at].subgridspec(len(rows), len(widths), **sizes)
        for i, row in enumerate(rows):
            for j, panel in enumerate(row):
                axes = figure.add_subplot(inner[i, j])
                axes.set_title(panel.title, fontsize=9, color=QUIET, loc="left", parse_math=False)
                MARKS[panel.mark.kind](axes, panel.mark)
    _settle(figure)
    return figure


def _settle(figure: Figure) -> None:
    """Fix the layout, rounded: the solver's last bits vary between runs, and files must not."""
    with warnings.catch_warnings():  # scripts missing from the font show as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, low, width, height = axes.get_position(original=True).bounds
        axes.set_position((round(left, 5), round(low, 5), round(width, 5), round(height, 5)))


def _height(mark: Any, width: float) -> float:
    """Height in inches of a mark that takes this fraction of a row's width."""
    if isinstance(mark, Matrix):
        longest = max((len(x) for x in mark.columns.names(0, CUT)), default=0)
        least = min(4.0, 0.6 * width * WIDTH) if mark.square else 1.6
        return min(5.0, max(least, ROW * len(mark.numbers))) + 0.6 + 0.06 * longest
    if isinstance(mark, Bars):
        groups, rows = mark.numbers.shape
        return min(5.0, max(1.6, (0.1 + 0.14 * groups) * rows)) + 0.6
    if isinstance(mark, Routes):
        return max(2.6, min(12.0, 0.95 * len(mark.mlps))) + 0.7
    if isinstance(mark, Thumbnails):
        layers, heads, tall, wide = np.shape(mark.values)
        if mark.picture is None:
            return min(4.0, 0.6 + 0.55 * layers)
        tall, wide = np.shape(mark.picture)[:2]
        return 0.6 + min(4.5, width * WIDTH * tall * layers / (wide * heads))
    if isinstance(mark, Overlay):
        rows, columns = np.shape(mark.picture)[:2]
        return 2.9 if mark.unit else 0.6 + min(4.5, width * WIDTH * rows / columns)
    if isinstance(mark, Space):
        return 4.4
    if isinstance(mark, Strips):
        return 0.6 + 0.3 * len(mark.vectors)
    return max(1.2, 0.2 + 0.16 * len(mark.lines)) if isinstance(mark, Note) else 3.2


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0, colors=INK, pad=3)
    axes.spines[:].set_color(LINE)


def _name(axes: Axes, which: str, axis: Axis, n: int, room: float) -> None:
    """Label an axis, skipping labels if there are many; `room`: its length in inches."""
    side = getattr(axes, f"{which}axis")
    size = 8 if n <= 20 else 6.5
    slanted = which == "x" and axis.tokens
    step = max(1, int(np.ceil(n * (0.14 if slanted or which == "y" else 0.3) / room)))
    if axis.tokens and n > NAMED:
        names, step = [str(i) for i in range(n)], max(1, n // 8)
    else:
        names = axis.names(n, CUT if axis.tokens else 3 * CUT)
    family = MONO if axis.tokens else None
    side.set_ticks(range(0, n, step), names[::step], fontsize=size, family=family, parse_math=False)
    if slanted and n <= NAMED:
        for label in axes.get_xticklabels():
            label.set(rotation=60, ha="left", rotation_mode="anchor")
    if axis.title:
        side.set_label_text(axis.title, color=QUIET, fontsize=9)


def _name_parts(axes: Axes, which: str, axis: Axis, n: int) -> None:
    """Draw lines between the named parts of n positions, and the names that have room."""
    if not axis.parts:
        return
    line, where = (axes.axvline, "bottom") if which == "x" else (axes.axhline, "right")
    for edge in {edge for _, start, end in axis.parts for edge in (start, end)} - {0, n}:
        line(edge - 0.5, color=QUIET, linewidth=0.6)
    room, named = 0.035 * n, dict[float, str]()
    for name, start, end in axis.parts:
        middle = (start + end - 1) / 2
        if middle - max(named, default=-n) >= room:
            named[middle] = name
    other = getattr(axes, f"secondary_{which}axis")(where)
    side = getattr(other, f"{which}axis")
    side.set_ticks([*named], [*named.values()], fontsize=7, color=QUIET, parse_math=False)
    other.tick_params(length=0, pad=3)
    other.spines[:].set_visible(False)
    for label in other.get_xticklabels() if which == "x" else ():
        label.set(rotation=-60, ha="left", rotation_mode="anchor")


def _matrix(axes: Axes, mark: Matrix) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import Normalize, PowerNorm
    from matplotlib.patches import Rectangle

    values, end = mark.numbers, mark.limit
    rows, columns = values.shape
    colours = colour_map("diverging_light" if mark.signed else "sequential_light")

    def shade(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.abs(x / end) ** mark.power * (-end if mark.flipped else end)

    norm = Normalize(-end, end) if mark.signed else PowerNorm(mark.power, 0, end, clip=True)
    shown = shade(values) if mark.signed else values
    axes.set_facecolor(BLOCKED)
    look: dict[str, Any] = dict(cmap=colours, norm=norm, aspect="equal" if mark.square else "auto")
    look |= dict(interpolation="nearest")
    image = axes.imshow(shown, **look)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    if mark.bare:
        axes.set_xticks([])
        axes.set_yticks([])
    else:
        _name(axes, "x", mark.columns, columns, 4.0)
        _name(axes, "y", mark.rows, rows, 4.0)
        _name_parts(axes, "x", mark.columns, columns)
        _name_parts(axes, "y", mark.rows, rows)
    _bare(axes)
    if mark.text is not None:
        for (row, column), text in np.ndenumerate(np.asarray(mark.text, dtype=object)):
            at = abs(values[row, column]) / end if np.isfinite(values[row, column]) else 0.0
            bold = mark.bold is not None and bool(mark.bold[row][column])
            write(
                axes,
                column,
                row,
                str(text),
                size=7.5 if rows <= 16 else 5,
                ha="center",
                va="center",
                family=MONO,
                clip_on=True,
                weight="bold" if bold else "normal",
                color=PAPER if at > 0.55 and not mark.signed else INK,
            )
    if mark.hatched is not None:
        boxes = [Rectangle((x - 0.5, y - 0.5), 1, 1) for y, x in np.argwhere(mark.hatched)]
        style: Any = dict(facecolor="none", edgecolor=QUIET, hatch="////", linewidth=0, alpha=0.45)
        axes.add_collection(PatchCollection(boxes[:HATCHED], **style))
    if mark.dots is not None:
        down, across = np.nonzero(np.asarray(mark.dots))
        axes.plot(across, down, ".", color=INK, markersize=1.6, alpha=0.6)
    if mark.beside is not None:
        _beside(axes, mark, shade if mark.signed else (lambda x: x), norm, colours)
    if mark.chosen is not None:
        row, column = mark.chosen
        x, w = (-0.5, columns) if column is None else (column - 0.5, 1)
        y, h = (-0.5, rows) if row is None else (row - 0.5, 1)
        axes.add_patch(frame(x, y, w, h, 1.8))
    if mark.means:
        scale = _scale(axes, image, mark.means)
        low = -end if mark.signed else 0.0  # a norm that clips would also get ticks beyond the end
        scale.set_ticks([at for at in scale.get_ticks() if low <= at <= end])


def _scale(axes: Axes, image: Any, means: str) -> Any:
    """Draw a labelled colour scale beside the axes."""
    scale = axes.figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    scale.outline.set_edgecolor(LINE)  # type: ignore[operator]
    scale.set_label(means, color=QUIET, fontsize=8)
    scale.ax.tick_params(labelsize=7, colors=QUIET)
    return scale


def _beside_point(axes: Axes, name: str, at: tuple[float, float], size: float, off: int) -> None:
    style: Any = dict(xytext=(off, off), textcoords="offset points", annotation_clip=True)
    axes.annotate(name, at, fontsize=size, color=INK, parse_math=False, **style)


def _beside(axes: Axes, mark: Matrix, shade: Any, norm: Any, colours: Any) -> None:
    """Draw one more column, set apart."""
    rows, columns = mark.numbers.shape
    wide = max(1.0, columns / 24)
    left = columns - 0.5 + max(0.35, columns / 60)
    own = np.asarray(mark.beside, dtype=float)[:, None]
    axes.imshow(
        shade(own),
        cmap=colours,
        norm=norm,
        interpolation="nearest",
        aspect="equal" if mark.square else "auto",
        extent=(left, left + wide, rows - 0.5, -0.5),
    )
    axes.axvspan(columns - 0.5, left, color=PAPER, linewidth=0)
    axes.set_xlim(-0.5, left + wide)
    axes.set_ylim(rows - 0.5, -0.5)
    look: dict[str, Any] = dict(size=8, style="italic", color=QUIET, rotation=60, ha="left")
    look |= dict(va="bottom", rotation_mode="anchor")
    write(axes, left + wide / 2, -0.5 - rows / 60, mark.beside_name, **look)


def _bars(axes: Axes, mark: Bars) -> None:
    if mark.most and mark.numbers.shape[1] > mark.most:
        best = np.argsort(-mark.numbers[0], kind="stable")[: mark.most].tolist()
        names = mark.rows.names(0)
        rows_of = replace(mark.rows, labels=[names[i] for i in best])
        mark = replace(mark, values=mark.numbers[:, best], rows=rows_of)
    values = np.nan_to_num(mark.numbers.astype(float))
    groups, rows = values.shape
    thick = 0.8 / groups
    diverging, colours = colour_map("diverging_light"), [*head_colours()]
    named = [palette()["light"][name] for name in mark.colours] or colours
    for group in range(groups):
        where = np.arange(rows) + (group - (groups - 1) / 2) * thick
        if mark.shades is not None:
            shades = np.atleast_2d(np.asarray(mark.shades, dtype=float))[group]
            fill: Any = [diverging(0.5 + 0.5 * float(x)) for x in shades]
        elif mark.chosen:
            fill = [ACCENT if row in mark.chosen else OTHER for row in range(rows)]
        else:
            fill = named[group % len(named)]
        edge = QUIET if mark.shades is not None else None
        axes.barh(where, values[group], thick * 0.9, color=fill, edgecolor=edge, linewidth=0.6)
        for row, (y, value) in enumerate(zip(where, values[group], strict=True)):
            text = _at_end(mark, group, row, float(value))
            if groups * rows <= 40 and text:
                style: dict[str, Any] = dict(va="center", fontsize=7, color=INK, parse_math=False)
                axes.text(max(float(value), 0.0), y, f" {text}", **style)
    axes.set_ylim(rows - 0.5, -0.5)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    axes.set_xlim(low * 1.05, high + 0.35 * (high - low or 1.0))
    _name(axes, "y", mark.rows, rows, 3.0)
    _bare(axes)
    axes.spines[:].set_visible(False)
    if low < 0:
        axes.axvline(0, color=LINE, linewidth=1)
    axes.set_xticks([])
    label = f"{mark.means}; colour: {mark.shade}" if mark.shade else mark.means
    axes.set_xlabel(label, color=QUIET, fontsize=8)
    if groups > 1 and mark.shades is None:
        from matplotlib.patches import Patch

        handles = [
            Patch(color=named[g % len(named)], label=name) for g, name in enumerate(mark.groups)
        ]
        axes.legend(handles=handles, frameon=False, fontsize=8, loc="lower right")


def _at_end(mark: Bars, group: int, row: int, value: float) -> str:
    if mark.text is not None:
        return str(np.atleast_2d(np.asarray(mark.text, dtype=object))[group][row])
    return f"{fixed(value)} {mark.groups[group]}".strip()


def _curves(axes: Axes, mark: Curves) -> None:
    colours = head_colours()
    for i, curve in enumerate(mark.curves):
        if curve.hidden:
            continue
        nth = i if curve.nth is None else curve.nth
        colour = palette()["light"].get(curve.colour) or colours[nth % len(colours)]
        if curve.band is not None:
            axes.fill_between(curve.x, *curve.band, color=colour, alpha=0.2, linewidth=0)
        axes.plot(
            curve.x,
            curve.y,
            color=colour,
            alpha=0.55 if curve.faint else 1,
            linewidth=2.4 if curve.strong else 0.7 if curve.faint else 1.3,
            marker="o" if curve.points else None,
            markersize=4,
            label=None if curve.faint or not curve.name else curve.name,
            drawstyle="steps-mid" if curve.steps else "default",
        )
        if curve.filled:
            step = "mid" if curve.steps else None
            axes.fill_between(curve.x, curve.y, color=colour, alpha=0.25, linewidth=0, step=step)
    if mark.at is not None:
        axes.axvline(mark.at, color=ACCENT, linewidth=1)
    if mark.x_range is not None:
        axes.set_xlim(*mark.x_range)
    axes.set_xlabel(mark.x.title, color=QUIET, fontsize=9)
    axes.set_ylabel(mark.y.title, color=QUIET, fontsize=9)
    axes.tick_params(colors=QUIET, labelsize=8, length=0)
    axes.grid(color=LINE, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(LINE)
    if mark.legend:
        for text in axes.legend(frameon=False, fontsize=8).get_texts():
            text.set_parse_math(False)


def _strips(axes: Axes, mark: Strips) -> None:
    colours = colour_map("diverging_light")
    for i, vector in enumerate(mark.vectors):
        values = as_array(vector)
        drawn = _picked(values)
        most = max(float(np.abs(drawn).max()), 1e-9)
        style: dict[str, Any] = dict(cmap=colours, vmin=-most, vmax=most, aspect="auto")
        style |= dict(interpolation="nearest", extent=(0, 1, i + 0.36, i - 0.36))
        axes.imshow(drawn[None], **style)
        length = f"length {fixed(float(np.linalg.norm(values)))}"
        axes.text(1.01, i, length, va="center", fontsize=8, color=QUIET)
        axes.add_patch(frame(0, i - 0.36, 1, 0.72, 1, INK if i in mark.chosen else LINE))
    names = mark.rows.names(len(mark.vectors))
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    _bare(axes)
    axes.spines[:].set_visible(False)


def _picked(values: np.ndarray) -> np.ndarray:
    """At most `NUMBERS` values: the one furthest from 0 in each part of the vector."""
    if len(values) <= NUMBERS:
        return values
    parts = np.array_split(values, NUMBERS)
    return np.array([part[np.abs(part).argmax()] for part in parts])


def _waterfall(axes: Axes, mark: Waterfall) -> None:
    values = np.asarray(mark.values, dtype=float)
    after = np.cumsum(values)
    colours, most = colour_map("diverging_light"), max(float(np.abs(values).max()), 1e-9)
    fills = [colours(0.5 + 0.35 * v / most + (0.15 if v > 0 else -0.15)) for v in values]
    axes.bar(np.arange(len(values)), values, bottom=after - values, color=fills, width=0.9)
    end = len(values) + 0.5
    axes.bar([end], [after[-1]], color=INK, width=1.2)
    axes.annotate(
        fixed(float(after[-1])),
        (end, max(float(after[-1]), 0)),
        ha="center",
        va="bottom",
        fontsize=8,
    )
    axes.axhline(0, color=LINE, linewidth=1)
    step = max(1, len(values) // 16)
    axes.set_xticks(range(0, len(values), step), mark.parts.names(len(values))[::step], fontsize=7)
    axes.set_xlabel(f"{mark.parts.title}; then the {mark.total}", color=QUIET, fontsize=8)
    _bare(axes)
    axes.tick_params(labelsize=7)
    axes.spines[:].set_visible(False)


def _points(axes: Axes, mark: Points) -> None:
    places, colour = np.asarray(mark.places, dtype=float), head_colours()[0]
    sizes = 20 + 500 * np.asarray(mark.sizes, dtype=float)
    shades = None if mark.shades is None else np.asarray(mark.shades, dtype=float)
    shapes = "Do^s" if mark.groups else "o"
    for shape, (name, at) in zip(shapes, mark.parts.items(), strict=False):
        colours: dict[str, Any] = dict(color=colour)
        if shades is not None and np.isfinite(shades[at]).any():
            ends = dict(vmin=np.nanmin(shades), vmax=np.nanmax(shades))
            colours = dict(c=shades[at], cmap=colour_map("sequential_light"), **ends)
        style: dict[str, Any] = dict(s=sizes[at], alpha=0.75, marker=shape, label=name)
        style |= dict(linewidths=0.5 if mark.groups else 0, edgecolors=QUIET)
        axes.scatter(places[at, 0], places[at, 1], **style, **colours)
    if mark.groups:
        axes.legend(frameon=False, fontsize=8)
    for place, name in zip(places, mark.names, strict=True):
        _beside_point(axes, name, tuple(place), size=9, off=6)
    if mark.special is not None:
        axes.scatter(*[[v] for v in mark.special], marker="D", s=70, color=ACCENT, zorder=3)
    axes.margins(0.2)
    axes.tick_params(colors=QUIET, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(LINE)


def _space(axes: Axes, mark: Space) -> None:
    places, small = np.asarray(mark.places), len(mark.names) > 200
    axes.set_axis_off()
    if mark.categories:
        at = [mark.categories.index(x) % 16 for x in mark.colours]
        paints: Any = [head_colours()[i] for i in at]
    else:
        numbers = np.asarray(mark.colours, dtype=float)
        image = axes.scatter([], [], c=[], cmap=colour_map("viridis"))
        image.set_clim(numbers.min(), numbers.max())
        paints = image.to_rgba(numbers)
        _scale(axes, image, mark.colours_mean)
    for left, vertical in ((0.02, 1), (0.55, 2)):
        plane = axes.inset_axes((left, 0.0, 0.45, 1.0))
        for point in range(len(places)) if mark.paths is not None else ():
            line, chosen = np.asarray(mark.paths)[:, point], point == mark.chosen
            style: Any = dict(linewidth=2, zorder=3) if chosen else dict(linewidth=0.8, alpha=0.5)
            colour = ACCENT if chosen else paints[point]
            plane.plot(line[:, 0], line[:, vertical], color=colour, **style)
        x, y = places[:, 0], places[:, vertical]
        plane.scatter(x, y, s=8 if small else 26, c=paints, linewidths=0, zorder=2)
        named = range(len(x)) if len(x) <= NAMED else []
        if mark.chosen is not None:
            ring: Any = dict(facecolors="none", edgecolors=ACCENT, linewidths=2, zorder=4)
            plane.scatter([x[mark.chosen]], [y[mark.chosen]], s=110, **ring)
            named = named or [mark.chosen]
        for point in named:
            _beside_point(plane, mark.names[point], (x[point], y[point]), size=7.5, off=4)
        plane.margins(0.12)
        plane.set_xlabel(mark.axes[0], color=QUIET, fontsize=9)
        plane.set_ylabel(mark.axes[vertical], color=QUIET, fontsize=9)
        plane.tick_params(labelsize=8, colors=QUIET, length=0)
        plane.grid(color=LINE, linewidth=0.5)
        plane.spines[:].set_color(LINE)
    for i, name in enumerate(mark.categories[:KEYS]):
        axes.scatter(
            [], [], color=head_colours()[i % 16], label=name if len(name) <= 16 else f"{name[:15]}…"
        )
    if mark.categories:
        title = f"colour: {mark.colours_mean}"
        if len(mark.categories) > KEYS:
            title += f", {len(mark.categories) - KEYS} more"
        where: Any = dict(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        shown = axes.legend(frameon=False, fontsize=9, title=title, title_fontsize=9, **where)
        for text in shown.get_texts():
            text.set_parse_math(False)


def _note(axes: Axes, mark: Note) -> None:
    axes.set_axis_off()
    write(axes, 0.02, 0.9, "\n".join(mark.lines), size=9, color=QUIET, transform=axes.transAxes)


MARKS = {
    "matrix": _matrix,
    "thumbnails": draw_thumbnails,
    "overlay": draw_overlay,
    "bars": _bars,
    "curves": _curves,
    "strips": _strips,
    "waterfall": _waterfall,
    "points": _points,
    "space": _space,
    "routes": draw_routes,
    "note": _note,
}
