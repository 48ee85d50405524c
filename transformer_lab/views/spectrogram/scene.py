"""The scene of a SpectrogramView."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..marks.scene import Axis, Curve, Curves, Overlay, Panel, Scene, Thumbnails
from ..shared.exports import Array, Numbers
from .listening import say, time_words

MOST = 192  # with more heads, only those of the chosen layer are shown
SMALL = (72, 30)  # pixels of a thumbnail


def columns(weights: np.ndarray, shown: float, step: float, width: int) -> np.ndarray:
    """The largest weight in each of `width` columns of the time 0 … shown.

    A position extends half a step to both sides of its middle.
    """
    edges = np.arange(width + 1) * shown / width
    first = np.clip(np.floor(edges[:-1] / step + 0.5 + 1e-9), 0, len(weights) - 1).astype(int)
    last = np.clip(np.ceil(edges[1:] / step + 0.5 - 1e-9) - 1, first, len(weights) - 1).astype(int)
    return np.array([weights[a : b + 1].max() for a, b in zip(first, last, strict=True)])


def sound_scene(
    title: str,
    sentence: str,
    features: np.ndarray,
    sound: dict[str, Any],
    weights: np.ndarray,
    rows: np.ndarray,
    chosen: Sequence[tuple[int, int]],
    layer: int,
    who: str,
    shown: float,
    span: tuple[float, float] | None,
    fade: float,
) -> Scene:
    """Draw the weights over the spectrogram, their curve over time, and thumbnails of all heads.

    Args:
        features: log-mel [band, frame], as the model read it, the lowest band first.
        sound: as the page has it.
        weights: [position], the mean of the `chosen` heads; `rows` [layer, head, position] are
            those of all heads.
        shown: seconds that are shown; `span` is the selected part.
    """
    bands, frames = features.shape
    hop, step, heads, n = sound["hop"], sound["step"], sound["heads"], len(weights)
    times = [time_words(i, i, step) for i in range(n)]
    top = bands - 0.5
    over = Overlay(
        features,
        weights[None],
        [times],
        fade,
        (-hop / 2, (frames - 0.5) * hop, -0.5, top),
        (-step / 2, (n - 0.5) * step, -0.5, top),
        span and (*span, -0.5, top),
        (0.0, shown),
        [(place * bands - 0.5, name) for place, name in sound["ticks"]],
        "seconds",
        who,
        "log-mel, light is loud",
    )
    seconds = [i * step for i in range(n)]
    curve = Curve(who, seconds, weights, steps=True, filled=True, colour="accent")
    weight = Curves([curve], Axis("seconds"), Axis("weight"), x_range=(0, shown), x_says=times)
    layers = list(range(len(heads))) if len(heads) * max(heads) <= MOST else [layer]
    small = np.full((len(layers), max(heads), 1, SMALL[0]), np.nan)
    for at, one in enumerate(layers):
        for head in range(heads[one]):
            small[at, head, 0] = columns(rows[one, head], shown, step, SMALL[0])
    framed = [(at, head) for at, head in chosen if at in layers]
    picture = _reduced(features, max(1, round(shown / hop)))
    every = Thumbnails(small, framed, picture=picture, fade=fade, layers=layers)
    panels = [[Panel(who, over)], [Panel("", weight)], [Panel("every head: layer ↓ head →", every)]]
    axes = {"seconds": seconds, "frame_seconds": [i * hop for i in range(frames)]}
    arrays = [
        Array("weight", weights.astype("f4"), ("seconds",), say("is_weight", who=who)),
        Array("every_head", rows, ("layer", "head", "seconds"), say("is_every_head")),
        Array(
            "spectrogram", features, ("band", "frame_seconds"), say("is_spectrogram", shades=False)
        ),
    ]
    return Scene(title, sentence, panels, Numbers(arrays, axes))


def _reduced(features: np.ndarray, frames: int) -> np.ndarray:
    """A grey thumbnail of the first frames, [row, column] of 0 … 255, highest band first."""
    (width, height), (bands, whole) = SMALL, features.shape
    across = np.minimum((np.arange(width) + 0.5) * frames / width, whole - 1).astype(int)
    down = ((np.arange(height) + 0.5) * bands / height).astype(int)
    low, high = features.min(), features.max()
    return (features[::-1][down][:, across] - low) * (255 / max(high - low, 1e-9))
