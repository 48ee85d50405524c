"""A SpectrogramView as a plotly figure."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..shared import plots
from .figure import OVER, SoundScene, sound_figure
from .listening import time_words

SOUND = [[0.0, "black"], [1.0, "white"]]  # light is loud, in both themes


def sound_plotly(scene: SoundScene, features: np.ndarray, who: str, theme: str) -> plots.Plot:
    """The spectrogram, [mel band, frame] in log-mel, under the weights; below, the weights of each
    position over its time, in seconds.

    Args:
        features: as the model was given them, the lowest band first.
        who: the head or the mean.
    """
    bins, frames = features.shape
    weights, bands = scene.weights.astype(np.float32), list(range(bins))
    times = [i * scene.step for i in range(len(weights))]
    names = [time_words(i, i, scene.step) for i in range(len(weights))]
    figure = plots.panels(2, 1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.04)
    sound = plots.heat(
        features, [i * scene.hop for i in range(frames)], bands,
        "%{x:.2f} s, band %{y}: %{z:.2f}", "log-mel", colorscale=SOUND, showscale=False,
    )  # fmt: skip
    over = plots.heat(
        weights[None], times, [-0.5, bins - 0.5], "%{text}: %{z:.4f}", who,
        opacity=OVER * scene.fade, zmin=0, zmax=float(weights.max()) or 1.0, text=[names],
        colorscale=plots.colour_scale("viridis", theme, power=2.0, clear=True),
        colorbar=dict(title=dict(text="attention weight", side="right"), thickness=14, len=0.65, y=0.68),
    )  # fmt: skip
    figure.add_trace(sound, row=1, col=1)
    figure.add_trace(over, row=1, col=1)
    figure.add_scatter(
        x=times, y=[float(w) for w in scene.weights], name=who, mode="lines", line_shape="hvh",
        line_color=plots.ink("accent", theme), fill="tozeroy", showlegend=False, customdata=names,
        hovertemplate="%{customdata}: %{y:.4f}<extra></extra>", row=2, col=1,
    )  # fmt: skip
    shown = dict(range=[0, scene.shown], showgrid=False, zeroline=False)
    figure.update_xaxes(**shown)
    figure.update_xaxes(title_text="seconds", row=2, col=1)
    figure.update_yaxes(
        tickvals=[place * bins - 0.5 for place, _ in scene.ticks],
        ticktext=[name for _, name in scene.ticks], showgrid=False, zeroline=False, row=1, col=1,
    )  # fmt: skip
    figure.update_yaxes(title_text="weight", rangemode="tozero", row=2, col=1)
    if scene.span is not None:
        begin, end = scene.span
        figure.add_shape(plots.outline(begin, -0.5, end - begin, bins, theme), row=1, col=1)
    return plots.Plot(
        figure, title=f"{scene.title} · {who}", sentence=scene.sentence, theme=theme,
        still=partial(sound_figure, scene),
    ).update_layout(height=560)  # fmt: skip
