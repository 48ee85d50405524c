"""The scene of a MixView."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..marks.scene import Axis, Bars, Panel, Points, Scene
from ..shared.exports import Array, Numbers
from ..shared.messages import fixed, messages

say = messages("mix")


def mix_scene(
    title: str,
    sentence: str,
    words: Sequence[str],
    scores: Sequence[float],
    d: int,
    weights: Sequence[float],
    hidden: Sequence[int],
    values: Sequence[Sequence[float]],
    mixture: tuple[float, float],
) -> Scene:
    """Draw scores and weights as bars, and the values (x, y) with their mixture; one per word."""
    divided = f"scores ÷ √{d}" if d > 1 else "scores"
    scaled = [math.nan if i in hidden else s / math.sqrt(d) for i, s in enumerate(scores)]
    rows = Axis("", words)
    bars = [
        Panel(
            name,
            Bars(
                numbers,
                rows,
                text=["hidden" if i in hidden else fixed(x) for i, x in enumerate(numbers)],
            ),
        )
        for name, numbers in ((divided, scaled), ("weights", weights))
    ]
    points = Points(values, words, weights, "weight", mixture, "mixture")
    places, word = np.array(values, dtype=np.float64), ("word",)
    off = np.array([i in hidden for i in range(len(words))])
    found = [
        Array("score", np.array(scores, dtype=np.float64), word, say("is_score")),
        Array("hidden", off, word, say("is_hidden")),
        Array("weight", np.array(weights), word, say("is_weight")),
        Array("x", places[:, 0], word, say("is_x")),
        Array("y", places[:, 1], word, say("is_y")),
        Array("mixture", np.array(mixture), ("coordinate",), say("is_mixture")),
    ]
    panels = [[*bars, Panel("values, and their mixture ◆", points)]]
    return Scene(title, sentence, panels, Numbers(found, {"word": words, "coordinate": ["x", "y"]}))
