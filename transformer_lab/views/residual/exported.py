"""A ResidualView as numbers for files."""

from __future__ import annotations

import numpy as np

from ..shared.exports import Array, Numbers
from .figure import ResidualScene, lens_window


def residual_numbers(scene: ResidualScene) -> Numbers:
    """Lengths of the stream [after, position], what each block adds, and the logit lens as far as it
    is drawn."""
    after = ["start", *(f"layer {i}" for i in range(len(scene.norms) - 1))]
    axes: dict = {"after": after, "position": list(scene.tokens)}
    found = [Array("length", scene.norms, ("after", "position"), "L2 norm of the residual stream")]
    if scene.shares is not None:
        axes["part"] = list(scene.shares.parts)
        where = ("part", "layer", "position")
        found += [
            Array(
                "share", scene.shares.share, where, "length of what a part adds, over the stream's"
            ),
            Array("cosine", scene.shares.cosine, where, "of what a part adds with the stream"),
        ]
    if scene.lens is not None:
        first, count = lens_window(scene)
        lens = scene.lens(first, count)
        axes["read"] = list(lens.positions)
        best = [[lens.top(row, at)[0] for at in range(count)] for row in range(len(scene.norms))]
        where = ("after", "read")
        words = np.array([[name for name, _ in line] for line in best], dtype=object)
        odds = np.array([[p for _, p in line] for line in best])
        found += [
            Array(
                "answer", lens.answer_probability, where, "logit lens: probability of the answer"
            ),
            Array("likeliest", words, where, "logit lens: the likeliest token"),
            Array("likeliest_probability", odds, where, "logit lens: its probability"),
        ]
    return Numbers(found, axes)
