"""An EmbeddingView as a plotly figure, in three dimensions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..shared import plots
from ..shared.messages import messages
from .figure import NAMED, CloudScene, categories, cloud_figure, component, numeric

say = messages("embeddings")


def cloud_plotly(scene: CloudScene, theme: str) -> plots.Plot:
    """Points in the first three principal components, a trace for each colour; the paths of tokens
    through the layers, one trace each."""
    figure = plots.Plot(
        title=scene.title, sentence=scene.sentence, theme=theme, still=partial(cloud_figure, scene)
    )
    at = scene.coordinates.numpy()
    told = np.array([hover(scene, i) for i in range(len(at))], dtype=object)
    names = np.array([plots.said(token) for token in scene.tokens], dtype=object)
    mode = "markers+text" if len(at) <= NAMED else "markers"
    marks: dict[str, Any] = dict(size=3 if len(at) > 200 else 5)
    groups: list[tuple[str, Any, dict[str, Any]]]
    if numeric(scene):
        bar = dict(title=dict(text=scene.by, side="right"), thickness=14, outlinewidth=0)
        painted = dict(
            color=np.asarray(scene.colours, dtype=float).tolist(), colorbar=bar,
            colorscale=plots.colour_scale("viridis", theme),
        )  # fmt: skip
        groups = [("", np.arange(len(at)), painted)]
    else:
        colours = plots.heads_of(theme)
        values = np.array([str(c) for c in scene.colours], dtype=object)
        groups = [
            (name, np.flatnonzero(values == name), dict(color=colours[i % len(colours)]))
            for i, name in enumerate(categories(scene))
        ]
    for name, members, painted in groups:
        x, y, z = at[members].T.tolist()
        figure.add_scatter3d(
            x=x, y=y, z=z, mode=mode, name=plots.said(name), text=names[members].tolist(),
            customdata=told[members].tolist(), marker={**marks, **painted}, textfont=dict(size=11),
            hovertemplate="%{customdata}<extra></extra>", showlegend=bool(name),
            legendgroup=plots.said(name),
        )  # fmt: skip
        for point in members.tolist() if scene.paths is not None else ():
            _path(figure, scene, point, painted if name else {}, name, theme)
    if scene.chosen is not None:
        x, y, z = ([float(v)] for v in at[scene.chosen])
        figure.add_scatter3d(
            x=x, y=y, z=z, mode="markers+text", name="chosen", showlegend=False,
            text=[names[scene.chosen]], textposition="top center",
            customdata=[told[scene.chosen]], hovertemplate="%{customdata}<extra></extra>",
            marker=dict(size=9, color=plots.ink("accent", theme), symbol="circle-open",
                        line=dict(width=3)),
        )  # fmt: skip
    axes = [dict(title=dict(text=component(scene, i))) for i in range(3)]
    return figure.update_layout(
        scene=dict(zip(("xaxis", "yaxis", "zaxis"), axes, strict=True), aspectmode="cube"),
        height=720, legend=dict(title=dict(text=plots.said(scene.by)), itemsizing="constant"),
    )  # fmt: skip


def hover(scene: CloudScene, point: int) -> str:
    """What a point is: token, position, length, and how much of it is shown."""
    length, kept = float(scene.norms[point]), float(scene.kept[point])
    return (
        f"“{plots.said(scene.tokens[point])}” ({scene.positions[point]})<br>"
        f"{say('point', norm=length, kept=kept)}"
    )


def _path(
    figure: Any, scene: CloudScene, point: int, painted: dict[str, Any], group: str, theme: str
) -> None:
    assert scene.paths is not None
    x, y, z = scene.paths[:, point].T.tolist()
    chosen = point == scene.chosen
    colour = plots.ink("accent" if chosen else "quiet", theme)
    figure.add_scatter3d(
        x=x, y=y, z=z, mode="lines", name=plots.said(scene.tokens[point]), showlegend=False,
        legendgroup=plots.said(group), opacity=1 if chosen else 0.55,
        line=dict(width=6 if chosen else 2, color=colour if chosen else painted.get("color", colour)),
        customdata=list(scene.rows), hovertemplate="%{fullData.name}, %{customdata}<extra></extra>",
    )  # fmt: skip
