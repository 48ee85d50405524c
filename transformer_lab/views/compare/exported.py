"""A CompareView as numbers for files."""

from __future__ import annotations

import numpy as np

from ..shared.exports import Array, Numbers
from .figure import CompareScene


def compare_numbers(scene: CompareScene) -> Numbers:
    """Both maps of the chosen head, [query, key], their difference, and how much each head moved."""
    a, b = scene.names
    found = []
    for name, values, means in (
        ("a", scene.maps[0], f"attention weight of {a}"),
        ("b", scene.maps[1], f"attention weight of {b}"),
        ("difference", scene.difference, f"{b} less {a}"),
    ):
        shown = values.double().numpy() if name == "difference" else values.float().numpy()
        shown = shown.copy()
        if scene.causal:
            shown[np.triu(np.ones(shown.shape, dtype=bool), 1)] = np.nan
        means += ", on aligned tokens; NaN where a token is missing or a query cannot look"
        found.append(Array(name, shown, ("query", "key"), means))
    for name, (side, _, nothing) in zip(("a", "b", "difference"), scene.panels(), strict=True):
        if nothing is not None:
            means = f"what goes to no key: {side}"
            found.append(Array(f"{name}_nothing", nothing, ("query",), means))
    moved = "share of a head's attention that lies elsewhere in the second"
    found.append(Array("moved", scene.moved, ("layer", "head"), moved))
    return Numbers(found, {"query": scene.queries, "key": scene.keys})
