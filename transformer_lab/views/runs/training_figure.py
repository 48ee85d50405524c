"""The still picture of a TrainingView: the loss, and the heads on the probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..heads.figure import HeadScene
from ..shared.colours import LINE, QUIET, head_colours
from ..shared.figures import blank, write
from .figure import draw_beside

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class TrainingScene:
    """What the picture is drawn from: curve, evals [point, (step, loss)]; heads: on the probe."""

    title: str
    sentence: str
    curve: np.ndarray
    evals: np.ndarray
    heads: HeadScene | None


def training_figure(scene: TrainingScene) -> Figure:
    heads = scene.heads
    figure = blank(10.5, 3.4 if heads is None else 4.6)
    write(figure, 0.02, 0.97, scene.title, size=12, weight="bold")
    write(figure, 0.02, 0.905, scene.sentence, size=10)
    axes = figure.add_axes((0.07, 0.13, 0.9 if heads is None else 0.3, 0.66))
    _draw_curve(axes, scene.curve, scene.evals)
    if heads is not None:
        draw_beside(figure, heads)
    return figure


def _draw_curve(axes, curve, evals) -> None:
    train, held_out = head_colours()[:2]
    if len(curve):
        axes.plot(curve[:, 0], curve[:, 1], color=train, linewidth=1.2, label="training")
    else:
        write(axes, 0.5, 0.5, "no step yet", size=10, transform=axes.transAxes, ha="center")
    if len(evals):
        axes.plot(evals[:, 0], evals[:, 1], "o-", color=held_out, markersize=4, label="held out")
    if len(curve) or len(evals):
        axes.legend(frameon=False, fontsize=9)
    axes.set_xlabel("step", color=QUIET, fontsize=9)
    axes.set_ylabel("loss, nats a token", color=QUIET, fontsize=9)
    axes.tick_params(colors=QUIET, labelsize=8)
    axes.grid(color=LINE, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(LINE)
