"""Scenes of runs: the loss, the scores of every head, and the chosen head on the probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..heads.scene import ShownHead, head_arrays, head_axes, heads_panel, map_of
from ..marks.scene import Axis, Curve, Curves, Mark, Note, Panel, Scene
from ..shared.exports import Array, Numbers, listed

LOSS = "loss, nats a token"


def run_scene(
    title: str,
    sentence: str,
    heads: ShownHead,
    step: int,
    steps: Sequence[int],
    last_step: int,
    curve: np.ndarray,
    measure: str,
    scores: Tensor | None,
) -> Scene:
    """Draw the loss, the scores of every head with the current step marked, and the chosen head.

    Args:
        step: the one shown, of `steps` that have a snapshot.
        curve: [point, (step, loss)].
        scores: [snapshot, layer, head] of the measure, or None.
    """
    over = (0.0, float(max(1, last_step)))
    files, more, axes = {"loss": _points(curve)}, [], {}
    loss = Curves([_curve("loss", curve)], Axis("step"), at=step, x_range=over)
    panels = [Panel(LOSS, loss)]
    if scores is not None:
        more = [Array("score", scores, ("snapshot", "layer", "head"), measure)]
        axes["snapshot"] = list(steps)
        lines = []
        for layer, of_layer in enumerate(scores.unbind(1)):
            for head, values in enumerate(of_layer.unbind(1)):
                name = f"layer {layer}, head {head}"
                chosen = (layer, head) == (heads.layer, heads.head)
                colour = "accent" if chosen else ""
                lines.append(
                    Curve(name, list(steps), values.tolist(), strong=chosen, colour=colour)
                )
                points = np.column_stack([np.array(steps, np.float64), values.float().numpy()])
                files[f"{measure}, {name}"] = points
        panels.append(Panel(measure, Curves(lines, Axis("step"), at=step, x_range=over)))
    return Scene(
        f"{title} · step {step}",
        sentence,
        [panels, _probe(heads)],
        _numbers(files, heads, more, axes),
    )


def training_scene(
    title: str, sentence: str, curve: np.ndarray, evals: np.ndarray, heads: ShownHead | None
) -> Scene:
    """Draw the loss over the steps, [point, (step, loss)], and the heads on the probe, if any."""
    given = {"training": _points(curve), "held out": _points(evals)}
    lines = [
        _curve(name, points, points=name == "held out")
        for name, points in given.items()
        if len(points)
    ]
    mark: Mark = Note("no step yet")
    if lines:
        mark = Curves(lines, Axis("step"), Axis(LOSS), legend=True)
    rows = [[Panel("", mark)], *([] if heads is None else [_probe(heads)])]
    return Scene(title, sentence, rows, _numbers(given, heads, [], {}))


def _probe(heads: ShownHead) -> list[Panel]:
    """Thumbnails of all heads, and the map of the chosen one."""
    chosen = f"layer {heads.layer}, head {heads.head}"
    return [heads_panel(heads), Panel(chosen, map_of(heads, means=heads.means), 0.64)]


def _curve(name: str, at: Any, **options: Any) -> Curve:
    return Curve(name, at[:, 0], at[:, 1], **options)


def _points(curve: Any) -> np.ndarray:
    return np.asarray(curve, dtype=np.float64).reshape(-1, 2)


def _numbers(
    curves: dict[str, np.ndarray], heads: ShownHead | None, more: list[Array], axes: dict
) -> Numbers:
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
