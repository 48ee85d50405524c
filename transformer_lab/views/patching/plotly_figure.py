"""A PatchingView as a plotly figure."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..shared import plots
from .figure import PatchingScene, patching_figure
from .words import NAMES


def patching_plotly(scene: PatchingScene, theme: str) -> plots.Plot:
    """The grids of all sites, on one scale; a cell says whether it is measured or an estimate."""
    sites = list(scene.grids)
    rows = -(-len(sites) // 2)
    titles = [f"{NAMES[site]} · {scene.measured(site)}" for site in sites]
    figure = plots.panels(
        rows, 2, subplot_titles=titles, horizontal_spacing=0.08, vertical_spacing=0.32 / rows
    )
    for i, site in enumerate(sites):
        grid, axis = scene.grids[site], scene.axis(site)
        where = dict(row=i // 2 + 1, col=i % 2 + 1)
        layers, columns = grid.values.shape
        x, across = list(range(columns)), dict(title_text=axis.replace("_", " "), showgrid=False)
        if axis == "position":
            x, across = plots.token_axis(list(scene.tokens), "x")
        exact = grid.exact.double().numpy()
        told = np.where(np.isnan(exact), "an estimate", "measured")
        figure.add_trace(
            plots.heat(
                grid.values, x, list(range(layers)),
                f"layer %{{y}}, {axis.replace('_', ' ')} %{{x}}: %{{z:+.4f}}, %{{customdata}}",
                name=NAMES[site], customdata=told, zmin=-scene.end, zmax=scene.end,
                colorscale=plots.colour_scale("diverging", theme), showscale=i == 0,
                reversescale=not scene.metric.alike and scene.metric.sign < 0,
                colorbar=dict(title=dict(text="change of the metric", side="right"), thickness=14),
            ), **where,
        )  # fmt: skip
        figure.update_xaxes(**{**across, "side": "bottom"}, **where)
        figure.update_yaxes(title_text="layer", autorange="reversed", showgrid=False, **where)
        if site == scene.site and len(scene.tokens) <= plots.NAMED:
            layer, column = scene.chosen
            figure.add_shape(
                plots.outline(column - 0.5, layer - 0.5, 1, 1, theme), **where
            )  # fmt: skip
    return plots.Plot(
        figure, title=scene.title, sentence=scene.sentence, theme=theme,
        still=partial(patching_figure, scene),
    ).update_layout(height=180 + rows * (150 + 14 * len(scene.grid.there)))  # fmt: skip
