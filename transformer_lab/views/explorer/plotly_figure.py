"""An Explorer as a plotly figure."""

from __future__ import annotations

from functools import partial

from ..heads.plotly_figure import add_head, add_map, left_out
from ..shared import plots
from .figure import MAP_TITLES, ExplorerScene, explorer_figure


def explorer_plotly(scene: ExplorerScene, theme: str) -> plots.Plot:
    """The chosen head as a map, before or after the edits or their difference, and the predictions
    before and after."""
    heads, effect = scene.heads, scene.effect
    what = MAP_TITLES[scene.mode]
    side = f"predictions {scene.where}" if effect.rows else "how far final states move"
    known = bool(effect.rows or effect.states)
    figure = plots.panels(
        1, 2 if known else 1, column_widths=[0.6, 0.4] if known else None, horizontal_spacing=0.2,
        subplot_titles=["", plots.said(side)] if known else None,
    )  # fmt: skip
    bar_at = {"x": 0.5 if known else 1.0, "len": 0.9}
    if scene.mode == "difference":
        change = heads.weights.float().numpy()
        add_map(
            figure, change, heads.queries, heads.keys, theme, hover="“%{y}” → “%{x}”: %{z:+.4f}",
            name=f"layer {heads.layer}, head {heads.head}", bar=what, bar_at=bar_at,
            end=heads.largest, signed=True, selected=heads.selected, nothing=heads.nothing,
        )  # fmt: skip
    else:
        add_head(figure, heads, theme, bar=what, bar_at=bar_at)
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
        figure.add_trace(trace, row=1, col=2)
    if bars:
        plots.name_rows(figure, names, row=1, col=2)
    title = f"{heads.title} · layer {heads.layer}, head {heads.head}"
    return plots.Plot(
        figure, title=title, sentence=heads.sentence + left_out(heads), theme=theme,
        space=40, still=partial(explorer_figure, scene),
    ).update_layout(
        height=640, legend=dict(orientation="h", x=1, xanchor="right", y=-0.05),
        plot_bgcolor=plots.ink("panel", theme),
    )  # fmt: skip
