"""A BlockView as a plotly figure."""

from __future__ import annotations

from functools import partial

from ..shared import plots
from .figure import BlockScene, block_figure


def block_plotly(scene: BlockScene, theme: str) -> plots.Plot:
    """What the head looks at, and every vector on the way with all its numbers, each as a curve that
    can be switched off in the legend."""
    figure = plots.panels(
        1,
        2,
        subplot_titles=[f"what head {scene.head} looks at", "the vectors"],
        horizontal_spacing=0.16,
    )
    softmax = scene.stage("softmax")
    assert softmax is not None and softmax.keys is not None
    weights = softmax.keys.numbers[-1].numpy()[list(scene.shown)]
    names = list(scene.keys)
    figure.add_trace(
        plots.bars(weights, names, "%{x:.4f}", marker_color=plots.heads_of(theme)[0], showlegend=False),
        row=1, col=1,
    )  # fmt: skip
    plots.name_rows(figure, names, row=1, col=1)
    figure.update_xaxes(title_text="attention weight", row=1, col=1)
    chosen = {vector.name for vector in scene.stages[scene.chosen].vectors}
    for tab, name, values in scene.rows:
        figure.add_scatter(
            y=values, mode="lines", name=f"{tab}: {name}" if tab != name else name,
            hovertemplate="number %{x}: %{y:.4f}",
            visible=True if name in chosen or (not chosen and tab == "x") else "legendonly", row=1, col=2,
        )  # fmt: skip
    figure.update_xaxes(title_text="number", row=1, col=2)
    stage = scene.stages[scene.chosen]
    return plots.Plot(
        figure, title=scene.heading, sentence=f"{stage.title}. {scene.sentence}", theme=theme,
        still=partial(block_figure, scene),
    ).update_layout(height=560)  # fmt: skip
