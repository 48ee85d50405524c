"""The still picture of an Explorer: every head, the chosen one as a map, the predictions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .colours import INK, LINE, QUIET, colour_map
from .explorer_runs import Effect, kl_text
from .head_figure import MONO, _box, _label_axes, draw_heads, draw_map, write
from .words import short, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDITED = "#7a4b00"
MAP_TITLES = {
    "before": "attention weight",
    "after": "attention weight, edited",
    "difference": "change of the attention weight",
}


def explorer_figure(
    *,
    title: str,
    sentence: str,
    thumbnails: Tensor,
    weights: Tensor,
    queries: Sequence[str],
    keys: Sequence[str],
    layer: int,
    head: int,
    causal: bool,
    hidden: Sequence[int],
    selected: tuple[int | None, int | None] | None,
    value_weighted: bool,
    mode: str,
    off: Sequence[tuple[int, int]],
    effect: Effect,
    where: str,
) -> Figure:
    """thumbnails [layer, head, small, small]; weights [query, key] as shown, signed where the mode
    is "difference"."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 6.4), facecolor="white")
    FigureCanvasAgg(figure)
    write(figure, 0.02, 0.975, f"{title} · layer {layer}, head {head}", size=12, weight="bold")
    lines = textwrap.wrap(sentence, 118)
    told = [*lines[:2], textwrap.shorten(" ".join(lines[2:]), 116, placeholder=" …")]
    write(figure, 0.02, 0.935, "\n".join(told).strip(), size=10)
    grid = figure.add_axes((0.06, 0.46, 0.3, 0.33))
    draw_heads(grid, thumbnails, layer, head)
    _cross_out(grid, thumbnails.shape, off)
    bars = figure.add_axes((0.13, 0.06, 0.23, 0.28))
    if effect.rows:
        _draw_predictions(bars, effect, where)
    elif effect.states:
        _draw_states(bars, effect)
    else:
        bars.set_axis_off()
    axes = figure.add_axes((0.48, 0.08, 0.4, 0.62))
    if mode == "difference":
        _draw_difference(figure, axes, weights, queries, keys, selected)
        return figure
    draw_map(axes, weights, queries, keys, causal, hidden, selected)
    scale = figure.colorbar(axes.images[0], ax=axes, fraction=0.04, pad=0.03)
    scale.outline.set_edgecolor(LINE)
    name = "weight × value length" if value_weighted else MAP_TITLES[mode]
    scale.set_label(name, color=QUIET, fontsize=9)
    scale.ax.tick_params(labelsize=8, colors=QUIET)
    return figure


def _cross_out(axes: Axes, shape: Sequence[int], off: Sequence[tuple[int, int]]) -> None:
    _, _, height, width = shape
    gap = max(1, width // 12)
    axes.autoscale(False)
    for layer, head in off:
        left, top = head * (width + gap), layer * (height + gap)
        for xs in ((left, left + width - 1), (left + width - 1, left)):
            axes.plot(xs, (top, top + height - 1), color=EDITED, linewidth=1.6)
        axes.add_patch(_box(left - 1, top - 1, width + 1, height + 1, 1.5))
        axes.patches[-1].set_edgecolor(EDITED)


def _draw_predictions(axes: Axes, effect: Effect, where: str) -> None:
    rows = effect.rows
    places = torch.arange(len(rows)).tolist()
    edited = rows[0].after is not None
    height = 0.38 if edited else 0.66
    before = [r.before for r in rows]
    axes.barh([p - (height / 2 if edited else 0) for p in places], before, height, color=QUIET)
    if edited:
        after = [r.after or 0.0 for r in rows]
        axes.barh([p + height / 2 for p in places], after, height, color=EDITED)
    most = max([*before, *[r.after or 0.0 for r in rows]]) or 1.0
    for place, row in zip(places, rows, strict=True):
        told = (
            short(row.before) if row.after is None else f"{short(row.before)} → {short(row.after)}"
        )
        longest = max(row.before, row.after or 0.0)
        write(axes, longest + 0.02 * most, place, told, size=8, va="center")
    axes.set_xlim(0, 1.5 * most)
    told = f"\ngrey before, brown after · KL {kl_text(effect.kl or 0.0)} nats" if edited else ""
    _name_rows(axes, [r.token for r in rows], f"predictions {where}{told}")


def _draw_states(axes: Axes, effect: Effect) -> None:
    values = [s.change for s in effect.states]
    axes.barh(range(len(values)), values, 0.66, color=EDITED)
    for place, value in enumerate(values):
        write(axes, value, place, f" {100 * value:.1f} %", size=8, va="center")
    axes.set_xlim(0, 1.4 * max(values) or 1.0)
    _name_rows(axes, [s.token for s in effect.states], "how far final states move")


def _name_rows(axes: Axes, names: Sequence[str], title: str) -> None:
    shown = [n if len(n) <= 12 else n[:11] + "…" for n in names]
    axes.set_yticks(range(len(shown)), shown, fontsize=9, family=MONO, parse_math=False)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    write(axes, 0, 1.04, title, size=9, color=QUIET, transform=axes.transAxes, va="bottom")


def _draw_difference(
    figure: Figure, axes: Axes, change: Tensor, queries, keys, selected: Any
) -> None:
    most = float(change.abs().max()) or 1.0
    shown = (
        change.sign() * (change.abs() / most).sqrt()
    )  # as in the browser: small changes are seen
    n_query, n_key = change.shape
    axes.imshow(
        shown.numpy(), cmap=colour_map("DIVERGING_LIGHT"), vmin=-1, vmax=1,
        interpolation="nearest", extent=(-0.5, n_key - 0.5, n_query - 0.5, -0.5),
    )  # fmt: skip
    _label_axes(axes, queries[:n_query], keys[:n_key])
    scale = figure.colorbar(axes.images[0], ax=axes, fraction=0.04, pad=0.03)
    scale.set_ticks([-1, 0, 1], labels=[signed(-most), "0", signed(most)])
    scale.set_label(MAP_TITLES["difference"], color=QUIET, fontsize=9)
    scale.ax.tick_params(labelsize=8, colors=QUIET)
    scale.outline.set_edgecolor(LINE)
    if selected is not None:
        query, key = selected
        x, w = (-0.5, n_key) if key is None else (key - 0.5, 1)
        y, h = (-0.5, n_query) if query is None else (query - 0.5, 1)
        axes.add_patch(_box(x, y, w, h, 2))
