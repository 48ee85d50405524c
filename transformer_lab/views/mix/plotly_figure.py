"""A MixView as a plotly figure."""

from __future__ import annotations

import math
from functools import partial

from ..shared import plots
from .figure import MixScene, mix_figure


def mix_plotly(scene: MixScene, theme: str) -> plots.Plot:
    """Scores and weights as bars, the values as points, as large as their weights."""
    divided = f"scores ÷ √{scene.d}" if scene.d > 1 else "scores"
    figure = plots.panels(
        1, 3, subplot_titles=(divided, "weights", "values, and their mixture ◆"),
        horizontal_spacing=0.09,
    )  # fmt: skip
    hidden = [i in scene.hidden for i in range(len(scene.words))]
    scaled = [
        math.nan if out else s / math.sqrt(scene.d)
        for s, out in zip(scene.scores, hidden, strict=True)
    ]
    colour = plots.heads_of(theme)[0]
    for column, values in ((1, scaled), (2, scene.weights)):
        figure.add_trace(
            plots.bars(values, scene.words, marker_color=colour, showlegend=False),
            row=1, col=column,
        )  # fmt: skip
        plots.name_rows(figure, scene.words, row=1, col=column)
    points = list(zip(*scene.values, strict=True))
    figure.add_scatter(
        x=points[0], y=points[1], mode="markers+text", text=[plots.said(w) for w in scene.words],
        textposition="top center", customdata=list(scene.weights), name="values",
        marker=dict(color=colour, size=[8 + 26 * math.sqrt(w) for w in scene.weights]),
        hovertemplate="%{text} hands over (%{x}, %{y}), weight %{customdata:.4f}<extra></extra>",
        row=1, col=3,
    )  # fmt: skip
    figure.add_scatter(
        x=[scene.mixture[0]], y=[scene.mixture[1]], mode="markers", name="mixture",
        marker=dict(color=plots.ink("accent", theme), size=14, symbol="diamond"),
        hovertemplate="mixture (%{x:.4f}, %{y:.4f})<extra></extra>", row=1, col=3,
    )  # fmt: skip
    return plots.Plot(
        figure, title=scene.title, sentence=scene.sentence, theme=theme,
        still=partial(mix_figure, scene),
    ).update_layout(height=420, showlegend=False)  # fmt: skip
