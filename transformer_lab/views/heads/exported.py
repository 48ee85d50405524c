"""Heads as numbers for files."""

from __future__ import annotations

from collections.abc import Sequence

from ..shared.exports import Array, Numbers
from .figure import HeadScene, masked_map

MAP = ("query", "key")


def head_numbers(scene: HeadScene, change: bool = False) -> Numbers:
    """The chosen head, [query, key]; change: weights are the difference that edits make."""
    return Numbers(head_arrays(scene, change), head_axes(scene))


def head_axes(scene: HeadScene) -> dict[str, Sequence[str]]:
    n_query, n_key = scene.weights.shape
    return {"query": scene.queries[:n_query], "key": scene.keys[:n_key]}


def head_arrays(scene: HeadScene, change: bool = False) -> list[Array]:
    means = "attention weight, as the model's softmax gives it: what a query gives to a key"
    if scene.measure != "attention weight":
        means = f"{scene.measure} over the texts: what a query gives to a key"
    if scene.value_weighted:
        means = "attention weight times the length of what the value adds, value · W_O"
    if scene.hidden:
        places = ", ".join(map(str, scene.hidden))
        means += f"; the keys at {places} are left out, and what is left is scaled to the same sum"
    if scene.block is not None:
        (q, q_end), (k, k_end) = scene.block
        means += (
            f"; of queries {q} … {q_end - 1} and keys {k} … {k_end - 1} alone, each counted from 0"
        )
    if change:
        means = f"difference, after the edits less before: {means}"
    name = "spread" if scene.measure == "standard deviation" else "change" if change else "weight"
    means = f"{means}; NaN where a query cannot look"
    found = [Array(name, masked_map(scene), MAP, means)]
    found += [
        Array(
            f"{name}_layer_{pin.layer}_head_{pin.head}", masked_map(scene, pin.weights), MAP, means
        )
        for pin in scene.pins
    ]
    if scene.nothing is not None:
        found.append(Array("nothing", scene.nothing, ("query",), "what a query gives to no key"))
    return found
