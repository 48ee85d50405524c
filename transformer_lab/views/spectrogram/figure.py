"""A spectrogram with what one word looks at over it, as a still picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..shared.colours import ACCENT, INK, LINE, QUIET, colour_map
from ..shared.figures import blank, frame, shortened, write
from ..shared.messages import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVER = 0.75  # opacity of the largest weight, where the spectrogram is wholly faded
MOST = 192  # heads beyond which those of the chosen layer are shown alone
SMALL = (72, 30)  # pixels of a small one


@dataclass(frozen=True, eq=False)
class SoundScene:
    """What the picture shows: `weights` [position] of what is chosen, `rows` [layer, head, position]
    of every head; `bands` bytes [mel bin, frame], the highest first; times are seconds."""

    title: str
    sentence: str
    bands: np.ndarray
    ticks: Sequence[tuple[float, str]]
    weights: np.ndarray
    rows: np.ndarray
    heads: Sequence[int]
    layer: int
    head: int
    mean: str
    hop: float
    step: float
    shown: float
    span: tuple[float, float] | None
    fade: float


def columns(weights: np.ndarray, shown: float, step: float, width: int) -> np.ndarray:
    """The largest weight under each of so many columns of a time 0 … shown; a position reaches half a
    step to both sides of its middle."""
    edges = np.arange(width + 1) * shown / width
    first = np.clip(np.floor(edges[:-1] / step + 0.5 + 1e-9), 0, len(weights) - 1).astype(int)
    last = np.clip(np.ceil(edges[1:] / step + 0.5 - 1e-9) - 1, first, len(weights) - 1).astype(int)
    return np.array([weights[a : b + 1].max() for a, b in zip(first, last, strict=True)])


def blended(grey: np.ndarray, weights: np.ndarray, fade: float) -> np.ndarray:
    """Grey [row, column] 0 … 1 under the colours of weights [column], which are as opaque as the
    weights are large: floats [row, column, 3]."""
    shades = np.sqrt(weights / max(weights.max(), 1e-9))
    over, opacity = colour_map("viridis")(shades)[None, :, :3], OVER * fade * shades[None, :, None]
    return grey[..., None] * (1 - opacity) + over * opacity


def sound_figure(scene: SoundScene) -> Figure:
    every, labels = _every(scene)
    tall, wide = every.shape[0] / every.shape[1] * 3.9, 3.9  # inches of the heads
    if tall > 4.6:
        tall, wide = 4.6, 4.6 * every.shape[1] / every.shape[0]
    figure = blank(11, 6)
    write(figure, 0.02, 0.98, scene.title, size=12, weight="bold")
    write(figure, 0.02, 0.935, shortened(scene.sentence, 2), size=9)
    _spectrogram(figure.add_axes((0.075, 0.36, 0.5, 0.44)), scene)
    _curve(figure.add_axes((0.075, 0.12, 0.5, 0.22)), scene)
    largest = float(scene.weights.max())
    told = f"yellow: weight {short(largest)}, clear: 0 · spectrogram: light is loud, log-mel"
    write(figure, 0.075, 0.035, told, size=8, color=QUIET)
    axes = figure.add_axes((0.62, 0.8 - tall / 6, wide / 11, tall / 6))
    axes.imshow(every, extent=(0, max(scene.heads), len(labels), 0), aspect="auto")
    for row, layer in enumerate(labels):
        for head in range(scene.heads[layer]):
            among = scene.mean == "all" or (
                layer == scene.layer and (scene.mean or head == scene.head)
            )
            if among:
                axes.add_patch(frame(head, row, 0.96, 0.94, 1.5 if scene.mean else 2))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=7, colors=QUIET, labeltop=True, labelbottom=False)
    axes.set_xticks(
        [i + 0.48 for i in range(max(scene.heads))], [str(i) for i in range(max(scene.heads))]
    )
    axes.set_yticks([i + 0.48 for i in range(len(labels))], [str(i) for i in labels])
    write(figure, 0.62, 0.865, "layer ↓  head →, each to its own largest weight", size=7, color=INK)
    return figure


def _spectrogram(axes, scene: SoundScene) -> None:
    frames = scene.bands.shape[1]
    grey = scene.bands / 255
    # A frame is half of itself before and after its middle; a position half a step.
    axes.imshow(
        np.repeat(grey[..., None], 3, -1), aspect="auto", interpolation="nearest",
        extent=(-scene.hop / 2, (frames - 0.5) * scene.hop, 0, 1),
    )  # fmt: skip
    shades = np.sqrt(scene.weights / max(float(scene.weights.max()), 1e-9))
    over = colour_map("viridis")(shades)[None]
    over[..., 3] = OVER * scene.fade * shades
    axes.imshow(
        over, aspect="auto", interpolation="nearest",
        extent=(-scene.step / 2, (len(scene.weights) - 0.5) * scene.step, 0, 1),
    )  # fmt: skip
    _bare(axes, scene)
    axes.set_ylim(0, 1)
    axes.set_xticks([])
    axes.set_yticks([place for place, _ in scene.ticks], [name for _, name in scene.ticks])
    if scene.span is not None:
        axes.add_patch(frame(scene.span[0], 0, scene.span[1] - scene.span[0], 1, clip=True))


def _curve(axes, scene: SoundScene) -> None:
    edges = (np.arange(len(scene.weights) + 1) - 0.5) * scene.step
    axes.stairs(scene.weights, edges, fill=True, color=ACCENT, alpha=0.25)
    axes.stairs(scene.weights, edges, color=ACCENT, linewidth=1.2)
    _bare(axes, scene)
    axes.set_ylim(0, 1.08 * max(float(scene.weights.max()), 1e-9))
    axes.set_xlabel("seconds", fontsize=8, color=QUIET)
    axes.set_ylabel("weight", fontsize=8, color=QUIET)


def _bare(axes, scene: SoundScene) -> None:
    axes.set_xlim(0, scene.shown)
    axes.tick_params(labelsize=7, colors=QUIET)
    for spine in axes.spines.values():
        spine.set_color(LINE)
        spine.set_linewidth(0.5)


def _every(scene: SoundScene) -> tuple[np.ndarray, list[int]]:
    """All heads, or those of the chosen layer, as one picture; and the layers in it."""
    layers = list(range(len(scene.heads)))
    if len(scene.heads) * max(scene.heads) > MOST:
        layers = [scene.layer]
    width, height = SMALL
    n = max(1, round(scene.shown / scene.hop))
    across = np.minimum((np.arange(width) + 0.5) * n / width, scene.bands.shape[1] - 1).astype(int)
    down = ((np.arange(height) + 0.5) * scene.bands.shape[0] / height).astype(int)
    grey = scene.bands[down][:, across] / 255
    sheet = np.ones(((height + 2) * len(layers), (width + 3) * max(scene.heads), 3))
    for i, layer in enumerate(layers):
        for head in range(scene.heads[layer]):
            weights = columns(scene.rows[layer, head], scene.shown, scene.step, width)
            at = slice(i * (height + 2), i * (height + 2) + height)
            across_at = slice(head * (width + 3), head * (width + 3) + width)
            sheet[at, across_at] = blended(grey, weights, scene.fade)
    return sheet, layers
