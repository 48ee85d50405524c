"""A MixView as numbers for files."""

from __future__ import annotations

import numpy as np

from ..shared.exports import Array, Numbers
from .figure import MixScene


def mix_numbers(scene: MixScene) -> Numbers:
    """A score, a weight and a value (x, y) for each word, and their mixture."""
    values, word = np.array(scene.values, dtype=np.float64), ("word",)
    hidden = np.array([i in scene.hidden for i in range(len(scene.words))])
    found = [
        Array("score", np.array(scene.scores, dtype=np.float64), word, "q · k"),
        Array("hidden", hidden, word, "whether the word is hidden"),
        Array("weight", np.array(scene.weights), word, "softmax(score / √d) over what is not hidden"),
        Array("x", values[:, 0], word, "of the value"),
        Array("y", values[:, 1], word, "of the value"),
        Array("mixture", np.array(scene.mixture), ("coordinate",), "the values by their weights, summed"),
    ]  # fmt: skip
    return Numbers(found, {"word": scene.words, "coordinate": ["x", "y"]})
