"""An Explorer as numbers for files."""

from __future__ import annotations

import numpy as np

from ..heads.exported import head_arrays, head_axes
from ..shared.exports import Array, Numbers
from .figure import ExplorerScene


def explorer_numbers(scene: ExplorerScene) -> Numbers:
    """The chosen head, [query, key], and what is predicted without and with the edits."""
    found = head_arrays(scene.heads, scene.mode == "difference")
    axes = dict(head_axes(scene.heads))
    effect = scene.effect
    if effect.rows:
        axes["prediction"] = [row.token for row in effect.rows]
        found.append(
            _of_each("before", [row.before for row in effect.rows], f"probability {scene.where}")
        )
        if effect.rows[0].after is not None:
            after = [row.after for row in effect.rows]
            found.append(_of_each("after", after, f"probability {scene.where}, with the edits"))
    elif effect.states:
        axes["prediction"] = [state.token for state in effect.states]
        moved = [state.change for state in effect.states]
        found.append(_of_each("moved", moved, "how far the final state of a token moves"))
    return Numbers(found, axes)


def _of_each(name: str, values: list, means: str) -> Array:
    numbers = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return Array(name, numbers, ("prediction",), means)
