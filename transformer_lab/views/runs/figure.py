"""The still picture of a run at one of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ..heads.figure import HeadScene, draw_heads, draw_map
from ..shared.colours import ACCENT, INK, LINE, QUIET, head_colours
from ..shared.figures import blank, wrapped, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RunScene:
    """What the picture is drawn from.

    step: the one on view, of `steps` that have a snapshot; curve [point, (step, loss)]; scores
    [snapshot, layer, head] of the measure, or None.
    """

    title: str
    sentence: str
    heads: HeadScene
    step: int
    steps: Sequence[int]
    last_step: int
    curve: np.ndarray
    measure: str
    scores: Tensor | None


def run_figure(scene: RunScene) -> Figure:
    """Loss above the scores of every head, the present step marked; every head, and the chosen."""
    figure = blank(10.5, 4.6)
    write(figure, 0.02, 0.97, f"{scene.title} · step {scene.step}", size=12, weight="bold")
    write(figure, 0.02, 0.905, wrapped(scene.sentence, 125, 2), size=10)
    axes = figure.add_axes((0.06, 0.52, 0.3, 0.24))
    axes.plot(scene.curve[:, 0], scene.curve[:, 1], color=head_colours()[0], linewidth=1.2)
    _finish(axes, scene, "loss, nats a token")
    axes = figure.add_axes((0.06, 0.12, 0.3, 0.3))
    _draw_scores(axes, scene)
    _finish(axes, scene, scene.measure)
    axes.set_xlabel("step", color=QUIET, fontsize=9)
    draw_beside(figure, scene.heads)
    return figure


def draw_beside(figure: Figure, heads: HeadScene) -> None:
    """Every head, and the chosen one, at the right of a figure."""
    draw_heads(figure.add_axes((0.44, 0.1, 0.2, 0.62)), heads)
    letters = max((min(len(token), 18) for token in heads.queries), default=0)
    words = (5.4 * letters + 26) / (72 * figure.get_figwidth())  # beside the map, its title too
    left = max(0.72, 0.64 + words)
    axes = figure.add_axes((left, 0.1, 0.99 - left, 0.6))
    draw_map(axes, heads)
    axes.set_xlabel(f"layer {heads.layer}, head {heads.head}", color=INK, fontsize=9)
    axes.xaxis.set_label_position("bottom")


def _draw_scores(axes, scene: RunScene) -> None:
    if scene.scores is None:
        return
    colours, n_heads = head_colours(), scene.scores.shape[2]
    for at in range(scene.scores.shape[1] * n_heads):
        layer, head = divmod(at, n_heads)
        chosen = (layer, head) == (scene.heads.layer, scene.heads.head)
        axes.plot(
            scene.steps, scene.scores[:, layer, head].tolist(),
            color=ACCENT if chosen else colours[at % len(colours)], linewidth=2.6 if chosen else 1,
            alpha=1 if chosen else 0.7,
        )  # fmt: skip


def _finish(axes, scene: RunScene, name: str) -> None:
    axes.axvline(scene.step, color=ACCENT, linewidth=1)
    axes.set_xlim(0, max(1, scene.last_step))
    axes.set_title(name, fontsize=9, color=QUIET, loc="left")
    axes.tick_params(colors=QUIET, labelsize=8, length=0)
    axes.grid(color=LINE, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(LINE)
