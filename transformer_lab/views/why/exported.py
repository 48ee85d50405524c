"""A WhyView as numbers for files."""

from __future__ import annotations

from ..shared.exports import Array, Numbers
from .figure import WhyScene


def why_numbers(scene: WhyScene) -> Numbers:
    """One score by dimension, the row that it stands in, and its parts by who wrote them."""
    numbers, info, d = scene.numbers, scene.info, ("dimension",)
    found = [
        Array("q", numbers["q"], d, "the query, as it is multiplied"),
        Array("k", numbers["k"], d, "the key, as it is multiplied"),
        Array("product", numbers["products"], d, "q · k of a dimension, scaled; they sum to the score"),
        Array("score", numbers["scores"], ("key",), "q · k of every key of the row, scaled; NaN: masked"),
        Array("weight", numbers["weights"], ("key",), "softmax of the scores"),
    ]  # fmt: skip
    axes = {"key": list(scene.keys)[: len(numbers["scores"])]}
    if info["mean"] is not None:
        means = "the product, above the mean of the row"
        found.append(Array("product_above_mean", numbers["above_products"], d, means))
    for name, split in numbers["splits"].items():
        for side in ("query", "key"):
            axis = f"{side}_source"
            axes[axis] = info["sources"][side]["names"]
            means = f"{name}, by what wrote the {side}'s stream"
            found.append(Array(f"{name}_by_{axis}", split[side], (axis,), means))
    return Numbers(found, axes)
