"""Runs as plotly figures: curves, scores of heads, and the chosen head's map."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..heads.plotly_figure import add_head
from ..shared import plots
from .figure import RunScene, run_figure
from .training_figure import TrainingScene, training_figure

LOSS = "loss, nats a token"


def run_plotly(scene: RunScene, theme: str) -> plots.Plot:
    """The loss above the scores of every head, the present step marked; and the chosen head."""
    heads = scene.heads
    chosen = f"layer {heads.layer}, head {heads.head}, step {scene.step}"
    figure: Any = plots.panels(
        2, 2, specs=[[{}, {"rowspan": 2}], [{}, None]], subplot_titles=[LOSS, chosen, scene.measure],
        horizontal_spacing=0.14, vertical_spacing=0.14,
    )  # fmt: skip
    add_curve(figure, scene.curve, "loss", plots.heads_of(theme)[0], row=1, col=1, showlegend=False)
    if scene.scores is not None:
        _scores(figure, scene, theme)
    for row in (1, 2):
        figure.add_vline(
            x=scene.step, line=dict(color=plots.ink("accent", theme), width=1), row=row, col=1
        )
        figure.update_xaxes(title_text="step", range=[0, max(1, scene.last_step)], row=row, col=1)
    add_head(figure, heads, theme, (1, 2), small=True)
    return plots.Plot(
        figure, title=f"{scene.title} · step {scene.step}", sentence=scene.sentence, theme=theme,
        still=partial(run_figure, scene),
    ).update_layout(height=640, legend=dict(orientation="h", y=-0.14))  # fmt: skip


def training_plotly(scene: TrainingScene, theme: str) -> plots.Plot:
    """The loss over the steps and, where there is a probe, the chosen head on it."""
    heads = scene.heads
    figure: Any = plots.panels(1, 1 if heads is None else 2, horizontal_spacing=0.14)
    train, held_out = plots.heads_of(theme)[:2]
    if len(scene.curve):
        add_curve(figure, scene.curve, "training", train, row=1, col=1)
    if len(scene.evals):
        add_curve(figure, scene.evals, "held out", held_out, "lines+markers", row=1, col=1)
    figure.update_xaxes(title_text="step", row=1, col=1)
    figure.update_yaxes(title_text=LOSS, row=1, col=1)
    if heads is not None:
        add_head(figure, heads, theme, (1, 2), small=True)
    return plots.Plot(
        figure, title=scene.title, sentence=scene.sentence, theme=theme,
        still=partial(training_figure, scene),
    ).update_layout(height=480, legend=dict(orientation="h", y=-0.2))  # fmt: skip


def add_curve(
    figure: Any, points: Any, name: str, colour: str, mode: str = "lines", width: float = 1.6,
    **options: Any,
) -> None:  # fmt: skip
    """points [point, (step, value)]"""
    figure.add_scatter(
        x=points[:, 0].tolist(), y=points[:, 1].tolist(), mode=mode, name=name,
        line=dict(color=colour, width=width), hovertemplate="step %{x}: %{y:.4f}", **options,
    )  # fmt: skip


def _scores(figure: Any, scene: RunScene, theme: str) -> None:
    assert scene.scores is not None
    colours, (_, layers, heads) = plots.heads_of(theme), scene.scores.shape
    for layer in range(layers):
        for head in range(heads):
            chosen = (layer, head) == (scene.heads.layer, scene.heads.head)
            at = layer * heads + head
            figure.add_scatter(
                x=list(scene.steps), y=scene.scores[:, layer, head].tolist(), mode="lines",
                name=f"layer {layer}, head {head}",
                line=dict(
                    color=plots.ink("accent", theme) if chosen else colours[at % len(colours)],
                    width=2.8 if chosen else 1.2,
                ),
                hovertemplate="step %{x}: %{y:.4f}", row=2, col=1,
            )  # fmt: skip
