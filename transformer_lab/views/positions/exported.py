"""A PositionView as numbers for files."""

from __future__ import annotations

import numpy as np
import torch

from ..shared.exports import Array, Numbers
from .figure import PositionScene
from .schemes import known


def position_numbers(scene: PositionScene) -> Numbers:
    """A head's weights before and after the test, [query, key]; the encoding; its curve by distance."""
    scheme, found = known(scene.scheme), []
    for name, weights, title in zip(("before", "after"), scene.weights, scene.titles, strict=True):
        shown = weights.float().numpy().copy()
        if scene.causal:
            shown[np.triu(np.ones(shown.shape, dtype=bool), 1)] = np.nan
        found.append(Array(name, shown, ("query", "key"), f"attention weight, {title}"))
    distances, values = scene.distances
    axes: dict = {"query": scene.names, "key": scene.names, "distance": distances.tolist()}
    if scheme.banded:
        axes["line"] = ["mean", "least", "most"][: len(values)]
    where = ("line" if scheme.banded else "head", "distance")
    means = f"{scheme.by_distance_title}, by key − query in tokens"
    found.append(Array("by_distance", values, where, means))
    if scene.encoding is not None:
        shown = scheme.shown(scene.encoding, scene.head)
        if scheme.row == "query" and scene.causal:
            shown = shown.masked_fill(torch.ones_like(shown).triu(1).bool(), torch.nan)
        where = tuple(f"encoding {name}" for name in (scheme.row, scheme.column))
        found.append(Array("encoding", shown, where, scheme.added.format(head=scene.head)))
    return Numbers(found, axes)
