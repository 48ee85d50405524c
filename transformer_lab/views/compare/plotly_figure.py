"""A CompareView as a plotly figure."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..heads.plotly_figure import LOOKS, add_map
from ..shared import plots
from .figure import CompareScene, compare_figure


def compare_plotly(scene: CompareScene, theme: str) -> plots.Plot:
    """How much of every head's attention lies elsewhere; both maps of the chosen head, and their
    difference."""
    a, b = (plots.said(name) for name in scene.names)
    figure = plots.panels(
        2, 2, subplot_titles=("attention that lies elsewhere", a, b, f"{b} − {a}"),
        horizontal_spacing=0.16, vertical_spacing=0.2,
    )  # fmt: skip
    grid = scene.moved.numpy()
    heads, layers = (list(range(n)) for n in grid.shape[::-1])
    figure.add_trace(
        plots.heat(
            grid, heads, layers, "layer %{y}, head %{x}: %{z:.4f} of its attention lies elsewhere",
            colorscale=plots.colour_scale("sequential", theme), zmin=0,
            zmax=max(0.05, float(np.nanmax(grid))), showscale=False,
        ), row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(title_text="head", tickvals=heads, row=1, col=1)
    figure.update_yaxes(title_text="layer", tickvals=layers, autorange="reversed", row=1, col=1)
    figure.add_shape(plots.outline(scene.head - 0.5, scene.layer - 0.5, 1, 1, theme), row=1, col=1)
    for (_, values, nothing), name, place in zip(
        scene.panels(), (a, b, ""), ((1, 2), (2, 1), (2, 2)), strict=True
    ):
        shown = values.float().numpy().copy()
        if scene.causal:
            shown[np.triu(np.ones(shown.shape, dtype=bool), 1)] = np.nan
        signed = place == (2, 2)
        hover = "“%{y}” → “%{x}”: %{z:+.4f}" if signed else LOOKS
        add_map(
            figure, shown, scene.queries, scene.keys, theme, place, hover=hover, name=name,
            selected=scene.selected, end=scene.most if signed else 1.0, signed=signed, square=False,
            small=True, nothing=nothing,
        )  # fmt: skip
    title = f"{scene.title} · {scene.names[0]} and {scene.names[1]} · layer {scene.layer}, head {scene.head}"
    return plots.Plot(
        figure, title=title, sentence=scene.sentence, theme=theme,
        still=partial(compare_figure, scene),
    ).update_layout(height=860)  # fmt: skip
