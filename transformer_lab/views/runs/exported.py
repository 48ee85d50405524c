"""Runs as numbers for files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..heads.exported import head_arrays, head_axes
from ..shared.exports import Array, Numbers, listed
from .figure import RunScene
from .training_figure import TrainingScene

LOSS = "loss, nats a token"


def training_numbers(scene: TrainingScene) -> Numbers:
    """The loss by step, and where there is a probe the chosen head on it."""
    curves = {"training": scene.curve, "held out": scene.evals}
    return _numbers({name: _points(curve) for name, curve in curves.items()}, scene.heads, [], {})


def run_numbers(scene: RunScene) -> Numbers:
    """The loss by step, every head's score in each snapshot, and the chosen head at this step."""
    curves, more, axes = {"loss": _points(scene.curve)}, [], {}
    if scene.scores is not None:
        more = [Array("score", scene.scores, ("snapshot", "layer", "head"), scene.measure)]
        axes["snapshot"] = list(scene.steps)
        _, layers, heads = scene.scores.shape
        for layer in range(layers):
            for head in range(heads):
                values = scene.scores[:, layer, head].float().numpy()
                name = f"{scene.measure}, layer {layer}, head {head}"
                curves[name] = np.column_stack([np.array(scene.steps, np.float64), values])
    return _numbers(curves, scene.heads, more, axes)


def _points(curve: Any) -> np.ndarray:
    return np.asarray(curve, dtype=np.float64).reshape(-1, 2)


def _numbers(curves: dict[str, np.ndarray], heads: Any, more: list[Array], axes: dict) -> Numbers:
    found = []
    columns: dict[str, list[Any]] = {"curve": [], "step": [], "value": []}
    for name, points in curves.items():
        columns["curve"] += [name] * len(points)
        columns["step"] += points[:, 0].astype(int).tolist()
        columns["value"] += listed(points[:, 1])
        if name in ("training", "held out", "loss"):
            axis = f"step of {name}"
            axes[axis] = points[:, 0].astype(int).tolist()
            found.append(Array(name, points[:, 1], (axis,), LOSS))
    found += more
    if heads is not None:
        found += head_arrays(heads)
        axes |= head_axes(heads)
    return Numbers(found, axes, columns)
