"""An Explorer as a plotly figure."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..heads.figure import HeadScene
from ..heads.plotly_figure import add_head, add_heads, add_map, head_panels, left_out, rows_height
from ..shared import plots
from .figure import MAP_TITLES, ExplorerScene, explorer_figure


def explorer_plotly(scene: ExplorerScene, theme: str) -> plots.Plot:
    """The chosen head as a map, before or after the edits or their difference, and the predictions
    before and after."""
    heads, effect = scene.heads, scene.effect
    what = MAP_TITLES[scene.mode]
    side = f"predictions {scene.where}" if effect.rows else "how far final states move"
    known = bool(effect.rows or effect.states)
    columns = 2 if heads.pins else 1
    figure, rows = head_panels(heads, side if known else None)
    bar_at = {"x": 0.5 if known else 1.0, "len": 0.9}
    if heads.pins:  # where the maps end
        bar_at = {"x": 0.61 if known else 1.0, "len": 0.9}
    add = add_change if scene.mode == "difference" else add_head
    add_heads(figure, heads, theme, add, bar=what, bar_at=bar_at)
    if effect.rows:
        names = [row.token for row in effect.rows]
        before, edited = [row.before for row in effect.rows], effect.rows[0].after is not None
        quiet, after = plots.ink("quiet", theme), plots.ink("edited", theme)
        bars = [plots.bars(before, names, name="before", marker_color=quiet, showlegend=edited)]
        if edited:
            numbers = [row.after or 0.0 for row in effect.rows]
            bars.append(plots.bars(numbers, names, name="after", marker_color=after))
    elif effect.states:
        names = [state.token for state in effect.states]
        moved = [state.change for state in effect.states]
        bars = [plots.bars(moved, names, marker_color=plots.ink("edited", theme), showlegend=False)]
    else:
        names, bars = [], []
    for trace in bars:
        figure.add_trace(trace, row=1, col=columns + 1)
    if bars:
        plots.name_rows(figure, names, row=1, col=columns + 1)
    title = f"{heads.title} · layer {heads.layer}, head {heads.head}"
    return plots.Plot(
        figure, title=title, sentence=heads.sentence + left_out(heads), theme=theme,
        space=40, still=partial(explorer_figure, scene),
    ).update_layout(
        height=rows_height(rows), legend=dict(orientation="h", x=1, xanchor="right", y=-0.05),
        plot_bgcolor=plots.ink("panel", theme),
    )  # fmt: skip


def add_change(
    figure: Any, heads: HeadScene, theme: str, place: tuple[int, int], *, bar: str, **where: Any
) -> None:
    """What the edits change in a head's map, into a panel of a figure."""
    add_map(
        figure, heads.weights.float().numpy(), heads.queries, heads.keys, theme, place,
        hover="“%{y}” → “%{x}”: %{z:+.4f}", name=f"layer {heads.layer}, head {heads.head}", bar=bar,
        end=heads.largest, signed=True, selected=heads.selected, nothing=heads.nothing, **where,
    )  # fmt: skip
