"""Heads as plotly figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from ..shared import plots
from ..shared.figures import spot_frame
from ..shared.words import TO_NOTHING
from .figure import HeadScene, head_figure, masked_map, scale_end, what_colours_mean

LOOKS = "“%{y}” looks at “%{x}”: %{z:.4f}"
VARIES = "what “%{y}” gives to “%{x}” differs by %{z:.4f}"
GOES = "“%{y}” gives %{z:.4f} to nothing"
GOES_SIGNED = "“%{y}” → to nothing: %{z:+.4f}"
TAKES = "“%{y}” takes from “%{x}”: %{z:.4f} (weight × value length)"
FACET_NAMES = 20  # tokens up to which small maps name them
COLUMNS = 4


def head_plotly(scene: HeadScene, theme: str) -> plots.Plot:
    """The chosen head, [query, key], with names on both axes; pinned heads beside it."""
    figure, rows = head_panels(scene)
    add_heads(figure, scene, theme)
    title = f"{scene.title} · layer {scene.layer}, head {scene.head}"
    return plots.Plot(
        figure, title=title, sentence=scene.sentence + left_out(scene), theme=theme, space=40,
        still=partial(head_figure, scene),
    ).update_layout(height=rows_height(rows), plot_bgcolor=plots.ink("panel", theme))  # fmt: skip


def head_panels(scene: HeadScene, more: str | None = None) -> tuple[Any, int]:
    """Subplots for the chosen map and those beside it, and how many rows they have. more: the name of
    one more panel, to the right of the first row."""
    count = 1 + len(scene.pins)
    columns = min(count, 2)
    rows = -(-count // columns)
    names = [""] if count == 1 else [_named(one) for one in scene.side_by_side()]
    beside = [] if more is None else [plots.said(more)]
    titles = [*names[:columns], *beside, *names[columns:]]
    specs: list[list[dict | None]] = [
        [{} if row * columns + column < count else None for column in range(columns)]
        + [{} if row == 0 else None for _ in beside]
        for row in range(rows)
    ]
    figure = plots.panels(
        rows, columns + len(beside), specs=specs, subplot_titles=titles if any(titles) else None,
        column_widths=[0.6 / columns] * columns + [0.4] if beside else None,
        horizontal_spacing=0.2 / columns, vertical_spacing=0.28 / rows,
    )  # fmt: skip
    return figure, rows


def rows_height(rows: int) -> int:
    return 640 if rows == 1 else 200 + 380 * rows


def add_heads(
    figure: Any, scene: HeadScene, theme: str,
    add: Callable[..., None] | None = None, **options: Any,
) -> None:  # fmt: skip
    """The chosen map and those beside it into the panels of `head_panels`; one scale tells of all.
    `add` adds one."""
    for at, one in enumerate(scene.side_by_side() if scene.pins else [scene]):
        place = (at // 2 + 1, at % 2 + 1)
        (add or add_head)(figure, one, theme, place, **(options if at == 0 else {"bar": ""}))


def _named(scene: HeadScene) -> str:
    known = f" · {scene.known}" if scene.known else ""
    return plots.said(f"layer {scene.layer}, head {scene.head}{known}")


def layer_plotly(
    scene: HeadScene, maps: Sequence[Tensor], nothing: Sequence[Tensor | None], theme: str
) -> plots.Plot:
    """Every head of a layer beside the others, on the same scale; maps [query, key] of each, and
    [query], what goes to no key, where heads of the layer may look there."""
    columns = min(COLUMNS, len(maps))
    rows = -(-len(maps) // columns)
    names = [f"head {head}" for head in range(len(maps))]
    figure = plots.panels(
        rows, columns, subplot_titles=names, shared_xaxes="all", shared_yaxes="all",
        horizontal_spacing=0.12 / columns, vertical_spacing=0.2 / rows,
    )  # fmt: skip
    drawn = [one for one in (*maps, *nothing) if one is not None]
    end = scale_end(max(float(one.max()) for one in drawn) or 1.0)
    for head, (weights, share) in enumerate(zip(maps, nothing, strict=True)):
        row, column = divmod(head, columns)
        add_map(
            figure, masked_map(scene, weights), scene.queries, scene.keys, theme,
            (row + 1, column + 1), hover=_hover(scene), name=f"layer {scene.layer}, head {head}",
            shared=True, end=end, small=True, nothing=share,
        )  # fmt: skip
    title = f"{scene.title} · layer {scene.layer}, every head"
    return plots.Plot(
        figure, title=title, sentence=left_out(scene).strip(), theme=theme,
        still=partial(head_figure, scene),
    ).update_layout(height=130 + 260 * rows, coloraxis=_shared_scale(scene, end, theme),
        plot_bgcolor=plots.ink("panel", theme),)  # fmt: skip


def every_head_plotly(scene: HeadScene, theme: str, *, sinks: bool = False) -> plots.Plot:
    """Every head of every layer, small: of a long text each cell is the largest weight of its part.
    sinks: whether some of them may look at no key, which small maps do not show."""
    small = scene.thumbnails.float().cpu().numpy()
    layers, heads, height, width = small.shape
    figure = plots.panels(
        layers, heads, shared_xaxes="all", shared_yaxes="all", horizontal_spacing=0.06 / heads,
        vertical_spacing=0.06 / layers, column_titles=[str(h) for h in range(heads)],
        row_titles=[str(layer) for layer in range(layers)],
    )  # fmt: skip
    pooled = (height, width) != scene.whole
    hover = "rows %{y}, columns %{x}, the largest: %{z:.4f}" if pooled else LOOKS
    names = (
        ([_part(i, height, scene.whole[0]) for i in range(height)],
         [_part(i, width, scene.whole[1]) for i in range(width)])
        if pooled else (scene.queries, scene.keys)
    )  # fmt: skip
    end = scale_end(float(small.max()) or 1.0)
    for layer in range(layers):
        for head in range(heads):
            add_map(
                figure, small[layer, head], *names, theme, (layer + 1, head + 1), hover=hover,
                name=f"layer {layer}, head {head}", shared=True, end=end, small=True,
            )  # fmt: skip
    figure.update_xaxes(showticklabels=False).update_yaxes(showticklabels=False)
    said = "Row: layer; column: head." + (
        f" Each map is {height} × {width} cells of {len(scene.queries)} × {len(scene.keys)} weights; "
        "a cell shows its largest."
        if pooled
        else ""
    )
    if sinks:
        said += " What goes to nothing is in none of them."
    return plots.Plot(
        figure, title=f"{scene.title} · every head", sentence=said, theme=theme,
        still=partial(head_figure, scene),
    ).update_layout(
        height=150 + 110 * layers, coloraxis=_shared_scale(scene, end, theme),
        plot_bgcolor=plots.ink("panel", theme),
    )  # fmt: skip


def add_head(
    figure: Any, scene: HeadScene, theme: str, place: tuple[int, int] = (1, 1), *,
    bar: str | None = None, **options: Any,
) -> None:  # fmt: skip
    """The chosen head's map into a panel of a figure."""
    end = scale_end(scene.largest)
    bar = what_colours_mean(scene) if bar is None or (bar and scene.value_weighted) else bar
    add_map(
        figure, masked_map(scene), scene.queries, scene.keys, theme, place, hover=_hover(scene),
        name=f"layer {scene.layer}, head {scene.head}", selected=scene.selected, end=end, bar=bar,
        nothing=scene.nothing, **options,
    )  # fmt: skip


def add_map(
    figure: Any, values: np.ndarray, queries: Sequence[str], keys: Sequence[str], theme: str,
    place: tuple[int, int] = (1, 1), *, hover: str, name: str = "", bar: str = "",
    bar_at: dict[str, Any] | None = None, selected: Any = None, end: float = 1.0,
    signed: bool = False, shared: bool = False, small: bool = False, square: bool = True,
    nothing: Tensor | None = None,
) -> None:  # fmt: skip
    """A map [query, key] into a panel.

    Args:
        bar: what the colours mean, beside them; "" shows no scale. bar_at: where that stands.
        end: the value at the end of the colours, at both ends where they are signed.
        shared: whether the colours are those of the figure's `coloraxis`.
        small: whether names are left out where they would be many.
        nothing: [query], what goes to no key: one more column, set apart.
    """
    values = values[: plots.LONGEST, : plots.LONGEST]
    n_query, n_key = values.shape
    x, across = plots.token_axis(list(keys)[:n_key], "x")
    y, down = plots.token_axis(list(queries)[:n_query], "y")
    scale = plots.colour_scale("diverging", theme) if signed else plots.weight_scale(theme)
    low = -end if signed else 0.0
    colours: dict[str, Any] = (
        {"coloraxis": "coloraxis"} if shared
        else {"colorscale": scale, "zmin": low, "zmax": end, "showscale": bool(bar)}
    )  # fmt: skip
    if bar and not shared:
        colours["colorbar"] = {"title": {"text": bar, "side": "right"}, "thickness": 14,
                               "outlinewidth": 0, **(bar_at or {})}  # fmt: skip
    row, column = place
    figure.add_trace(plots.heat(values, x, y, hover, name, **colours), row=row, col=column)
    if nothing is not None:
        at = plots.apart(across, n_key, TO_NOTHING)
        lone = {key: value for key, value in colours.items() if key != "colorbar"}
        lone |= {} if shared else {"showscale": False}
        share = nothing[:n_query, None].float().cpu().numpy()
        figure.add_trace(
            plots.heat(share, [at], y, GOES_SIGNED if signed else GOES, name, **lone),
            row=row, col=column,
        )  # fmt: skip
    if small and max(n_query, n_key) > FACET_NAMES:
        across["showticklabels"] = down["showticklabels"] = False
    if small:
        across.pop("side")
    figure.update_xaxes(**across, row=row, col=column)
    figure.update_yaxes(**down, row=row, col=column)
    if square and not small:
        figure.update_xaxes(constrain="domain", row=row, col=column)
        x_axis = figure.get_subplot(row, column).xaxis.plotly_name.replace("axis", "")
        figure.update_yaxes(scaleanchor=x_axis, constrain="domain", row=row, col=column)
    for frame in spot_frame(selected, n_query, n_key):
        figure.add_shape(plots.outline(*frame, theme), row=row, col=column)


def left_out(scene: HeadScene) -> str:
    """What is said of a text that is too long to be drawn whole."""
    n = max(scene.weights.shape)
    return f" The first {plots.LONGEST} of {n} tokens are drawn." if n > plots.LONGEST else ""


def _hover(scene: HeadScene) -> str:
    if scene.measure == "standard deviation":
        return VARIES
    return TAKES if scene.value_weighted else LOOKS


def _shared_scale(scene: HeadScene, end: float, theme: str) -> dict[str, Any]:
    what = "weight × value length" if scene.value_weighted else scene.measure
    return dict(
        colorscale=plots.weight_scale(theme), cmin=0, cmax=end,
        colorbar=dict(title=dict(text=what, side="right")),
    )  # fmt: skip


def _part(at: int, parts: int, n: int) -> str:
    """The places that one of so many parts of n holds, as adaptive pooling takes them."""
    first, last = at * n // parts, -(-(at + 1) * n // parts) - 1
    return str(first) if first == last else f"{first}–{last}"
