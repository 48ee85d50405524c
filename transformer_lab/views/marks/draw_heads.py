"""Draw heads with matplotlib: thumbnails and routes (still pictures only), weights on an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared.colours import ACCENT, EDITED, INK, LINE, PAPER, QUIET, colour_map, head_colours
from ..shared.figures import MONO, frame, write
from ..shared.messages import short
from .scene import CUT, Axis, Overlay, Routes, Thumbnails, as_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDEST = 7.0  # points: width of the widest line
OVER = 0.75  # opacity of the largest weight on a fully faded picture


def draw_thumbnails(axes: Axes, mark: Thumbnails) -> None:
    from matplotlib.colors import PowerNorm

    small = as_array(mark.values).astype(float)
    if mark.picture is not None:
        grey = np.asarray(mark.picture) / 255
        small = np.array([[blended(grey, one, mark.fade) for one in row] for row in small])
    layers, heads, height, width = small.shape[:4]
    gap = max(1, width // 12)
    down, across = height + gap, width + gap
    sheet = np.full((layers * down, heads * across, *small.shape[4:]), np.nan)
    for layer, head in np.ndindex(layers, heads):
        top, left = layer * down, head * across
        sheet[top : top + height, left : left + width] = small[layer, head]
    sheet = sheet[:-gap, :-gap]
    if mark.picture is not None:
        missing = np.isnan(sheet).any(-1, keepdims=True)
        sheet = np.concatenate([np.nan_to_num(sheet), ~missing], -1)
    norm = None if mark.picture is not None else PowerNorm(0.5, 0, 1, clip=True)
    aspect = width / height if mark.picture is None else 1.0
    axes.imshow(sheet, norm=norm, interpolation="nearest", cmap=colour_map(), aspect=aspect)
    axes.set_facecolor(LINE if mark.picture is None else PAPER)
    names = list(range(layers)) if mark.layers is None else list(mark.layers)

    def outline(layer: int, head: int, line: float, colour: str) -> None:
        where = head * across - 1, names.index(layer) * down - 1, width + 1, height + 1
        axes.add_patch(frame(*where, line, colour))

    for layer, head in mark.chosen:
        outline(layer, head, 2, ACCENT)
    for layer, head in mark.off:
        left, top = head * across, names.index(layer) * down
        for xs in ((left, left + width - 1), (left + width - 1, left)):
            axes.plot(xs, (top, top + height - 1), color=EDITED, linewidth=1.6)
        outline(layer, head, 1.5, EDITED)
    step = max(1, -(-max(heads, layers) // 16))
    columns, rows = (range(0, n, step) for n in (heads, layers))
    axes.set_xticks([i * across + width / 2 for i in columns], [str(i) for i in columns])
    axes.set_yticks([i * down + height / 2 for i in rows], [str(names[i]) for i in rows])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8, colors=QUIET, pad=4)
    axes.spines[:].set_visible(False)


def _greyed(picture: np.ndarray, fade: float) -> np.ndarray:
    """A picture 0 … 1, [row, column, 3], turned to grey by the fraction `fade`."""
    if picture.ndim == 2:
        return np.repeat(picture[..., None], 3, -1)
    grey = (picture @ np.array([0.2126, 0.7152, 0.0722]))[..., None]
    return picture * (1 - fade) + grey * fade


def _covering(weights: np.ndarray, fade: float) -> np.ndarray:
    """The colours of weights and how opaque they are, [row, column, 4]."""
    shades = np.sqrt(weights / max(float(np.max(weights)), 1e-9))
    colours = colour_map("sequential_dark")(shades)
    colours[..., 3] = OVER * fade * shades
    return colours


def blended(picture: np.ndarray, weights: np.ndarray, fade: float) -> np.ndarray:
    """A picture 0 … 1 under weights spread evenly over it, [row, column, 3]; NaN if one is NaN."""
    if np.isnan(weights).any():
        return np.full((*picture.shape[:2], 3), np.nan)
    (height, width), (rows, columns) = picture.shape[:2], weights.shape
    over = _covering(weights, fade)
    over = over[np.arange(height) * rows // height][:, np.arange(width) * columns // width]
    return _greyed(picture, fade) * (1 - over[..., 3:]) + over[..., :3] * over[..., 3:]


def draw_overlay(axes: Axes, mark: Overlay) -> None:
    picture, below = np.asarray(mark.picture, dtype=float), "upper"
    if picture.ndim == 2:
        picture, below = (picture - picture.min()) / max(float(np.ptp(picture)), 1e-9), "lower"
    else:
        picture = picture / 255
    picture_box, weights_box = mark.boxes
    aspect = "auto" if mark.unit else "equal"
    shape: dict[str, Any] = dict(aspect=aspect, interpolation="nearest")
    axes.imshow(_greyed(picture, mark.fade), extent=picture_box, origin=below, **shape)  # type: ignore[arg-type]
    weights = np.asarray(mark.weights, dtype=float)
    axes.imshow(_covering(weights, mark.fade), extent=weights_box, **shape)
    if mark.framed is not None:
        left, right, bottom, top = mark.framed
        axes.add_patch(frame(left, bottom, right - left, top - bottom, clip=bool(mark.unit)))
    left, right, bottom, top = (
        weights_box if mark.x_range is None else (*mark.x_range, *picture_box[2:])
    )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xticks([])
    axes.set_yticks([at for at, _ in mark.y], [name for _, name in mark.y])
    axes.tick_params(labelsize=7, colors=QUIET)
    axes.spines[:].set(color=LINE, linewidth=0.5)
    scale = f"yellow: {short(float(weights.max()))}, clear: 0"
    label = " · ".join(filter(None, (scale, mark.picture_name)))
    axes.set_xlabel(label, fontsize=8, color=QUIET)


def draw_routes(axes: Axes, mark: Routes) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    stays, stream, mlps = (as_array(x) for x in (mark.stays, mark.stream, mark.mlps))
    layers, n = mlps.shape
    carried = [abs(value) for value in mark.values]
    most = max(float(np.abs(stays).max()), *carried, 1e-9)
    least = min(carried, default=most)
    for layer, at in np.argwhere(np.abs(stays) >= least).tolist():
        look: dict[str, Any] = dict(color=QUIET, alpha=0.45, solid_capstyle="butt")
        look |= dict(linewidth=0.6 + WIDEST * abs(stays[layer, at]) / most)
        axes.plot([at, at], [layer, layer + 1], **look)
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
            place,
            edgecolor=colours[place[1] % len(colours)],
            alpha=0.85 if inside else 0.15,
            linewidth=0.6 + WIDEST * abs(value) / most,
            linestyle="--" if value < 0 else "-",
        )
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
    _name_routes(axes, mark, layers, n)


def _name_routes(axes: Axes, mark: Routes, layers: int, n: int) -> None:
    """Label tokens and layers."""
    axes.set_xlim(-0.7, n - 0.3)
    axes.set_ylim(*((layers + 0.15, -0.15) if mark.down else (-0.15, layers + 0.45)))
    if mark.down:
        axes.xaxis.tick_top()
    names = Axis("", mark.tokens, tokens=True).names(n, CUT)
    axes.set_xticks(
        range(n),
        names,
        rotation=55,
        ha="left" if mark.down else "right",
        fontsize=7,
        family=MONO,
        parse_math=False,
    )
    axes.set_yticks(
        [i + 0.5 for i in range(layers)], [f"layer {i}" for i in range(layers)], fontsize=8
    )
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
