"""A FlowView as a plotly figure."""

from __future__ import annotations

from functools import partial

from ..shared import plots
from .figure import FlowScene, flow_figure

LISTED = 16  # edges


def flow_plotly(scene: FlowScene, theme: str) -> plots.Plot:
    """What stands at every token before and after each layer, and the edges that carry most."""
    found, flow = scene.found, scene.found.flow
    figure = plots.panels(
        1, 2, column_widths=[0.6, 0.4], horizontal_spacing=0.2,
        subplot_titles=["what stands at a token, toward the logit", "the edges that carry most"],
    )  # fmt: skip
    x, across = plots.token_axis(list(scene.tokens), "x")
    rows = list(range(len(flow.stream)))
    most = max(float(flow.stream.abs().max()), 1e-9)
    figure.add_trace(
        plots.heat(
            flow.stream, x, rows, "“%{x}” after layer %{y}: %{z:+.3f}", zmin=-most, zmax=most,
            colorscale=plots.colour_scale("diverging", theme),
            colorbar=dict(title=dict(text="toward the logit", side="right"), thickness=14, x=0.54),
        ), row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(**{**across, "side": "bottom"}, row=1, col=1)
    figure.update_yaxes(
        tickvals=rows, ticktext=["start", *map(str, rows[:-1])], title_text="after layer",
        showgrid=False, row=1, col=1,
    )  # fmt: skip
    k = min(LISTED, scene.shown)
    places, values = found.places[:k].tolist(), found.values[:k].tolist()
    names = [
        f"L{layer} H{head} {scene.tokens[key]} {key} → {scene.tokens[query]} {query}"
        for layer, head, query, key in places
    ]
    colours = plots.heads_of(theme)
    marks = [colours[head % len(colours)] for _, head, _, _ in places]
    figure.add_trace(plots.bars(values, names, "%{x:+.4f}", marker_color=marks), row=1, col=2)
    plots.name_rows(figure, names, row=1, col=2)
    figure.update_xaxes(title_text="carried toward the logit", row=1, col=2)
    return plots.Plot(
        figure, title=f"{scene.title} · flow", sentence=scene.sentence, theme=theme,
        still=partial(flow_figure, scene),
    ).update_layout(height=480, showlegend=False)  # fmt: skip
