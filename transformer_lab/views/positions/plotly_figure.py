"""A PositionView as a plotly figure."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from ..heads.plotly_figure import LOOKS, add_map
from ..shared import plots
from .figure import PositionScene, position_figure
from .schemes import known


def position_plotly(scene: PositionScene, theme: str) -> plots.Plot:
    """The encoding, its curve by distance, and a head's weights before and after the test."""
    scheme = known(scene.scheme)
    over = scheme.added.format(head=scene.head) if scene.encoding is not None else scheme.nothing
    figure = plots.panels(
        2, 2, subplot_titles=[over, scheme.by_distance_title, *map(plots.said, scene.titles)],
        horizontal_spacing=0.12, vertical_spacing=0.2,
    )  # fmt: skip
    _encoding(figure, scene, theme)
    _distances(figure, scene, theme)
    largest = float(torch.maximum(*scene.weights).max())
    end = 1.0 if largest > 0.5 else largest or 1.0
    for column, weights in enumerate(scene.weights, 1):
        shown = weights.float().numpy().copy()
        if scene.causal:
            shown[np.triu(np.ones(shown.shape, dtype=bool), 1)] = np.nan
        add_map(
            figure, shown, scene.names, scene.names, theme, (2, column), hover=LOOKS, end=end,
            small=True, bar="attention weight" if column == 2 else "", square=False,
            bar_at={"y": 0.2, "len": 0.42},
        )  # fmt: skip
    return plots.Plot(
        figure, title=f"{scene.title} · {scheme.name}", sentence=scene.sentence, theme=theme,
        still=partial(position_figure, scene),
    ).update_layout(height=820, legend=dict(x=1.01, y=1))  # fmt: skip


def _encoding(figure: Any, scene: PositionScene, theme: str) -> None:
    if scene.encoding is None:
        figure.update_xaxes(visible=False, row=1, col=1).update_yaxes(visible=False, row=1, col=1)
        return
    scheme = known(scene.scheme)
    shown = scheme.shown(scene.encoding, scene.head)
    largest = scheme.largest(shown)
    values = shown.float().numpy().copy()
    if scheme.row == "query" and scene.causal:
        values[np.triu(np.ones(values.shape, dtype=bool), 1)] = np.nan
    rows, columns = values.shape
    hover = f"{scheme.row} %{{y}}, {scheme.column} %{{x}}: %{{z:.4f}}"
    figure.add_trace(
        plots.heat(
            values, list(range(columns)), list(range(rows)), hover, zmin=-largest, zmax=largest,
            colorscale=plots.colour_scale("diverging", theme), showscale=False,
        ), row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(title_text=scheme.column, row=1, col=1)
    figure.update_yaxes(title_text=scheme.row, autorange="reversed", row=1, col=1)


def _distances(figure: Any, scene: PositionScene, theme: str) -> None:
    distances, values = scene.distances
    scheme, colours = known(scene.scheme), plots.heads_of(theme)
    x = distances.tolist()
    names = (
        ["mean", "least", "most"] if scheme.banded else [f"head {i}" for i in range(len(values))]
    )
    for i, line in enumerate(values.tolist()):
        edge = scheme.banded and i > 0
        figure.add_scatter(
            x=x, y=line, mode="lines", name=names[i], showlegend=len(values) > 1,
            line=dict(color=colours[0 if scheme.banded else i % len(colours)],
                      width=0.5 if edge else 2.6 if i == scene.head else 1.4),
            fill="tonexty" if scheme.banded and i == 2 else None,
            hovertemplate="key − query %{x}: %{y:.4f}", row=1, col=2,
        )  # fmt: skip
    figure.update_xaxes(title_text="key − query, tokens", row=1, col=2)
