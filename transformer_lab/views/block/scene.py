"""The scene of a BlockView: every step's vectors, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..marks.scene import Axis, Bars, Curve, Panel, Scene, Strips
from ..shared.exports import Array, Numbers, listed
from .stages import Stage

SHOWN = 10  # keys in the still picture


def block_scene(
    title: str,
    sentence: str,
    stages: Sequence[Stage],
    chosen: int,
    keys: Sequence[str],
    shown: Sequence[int],
    token: str,
    layer: int,
    head: int,
) -> Scene:
    """Draw what the head attends to, and the vectors of every step.

    Args:
        chosen: the step that is shown.
        keys, shown: the names and the positions of the keys in the tables.
    """
    rows = _vectors(stages)
    softmax = next(stage for stage in stages if stage.name == "softmax")
    weights = softmax.columns["weight"].numpy()[list(shown)]
    names = {vector.name for vector in stages[chosen].vectors}
    labels = [f"{tab}: {name}" if tab != name else name for tab, name, _ in rows]
    drawn = [i for i, (_, name, _) in enumerate(rows) if not name.startswith("z of head")]
    strips = Strips(
        [rows[i][2] for i in drawn],
        Axis("", [labels[i] for i in drawn]),
        chosen=[at for at, i in enumerate(drawn) if rows[i][1] in names],
        curves=[
            Curve(
                label,
                np.arange(len(values)),
                values,
                hidden=name not in names and (bool(names) or tab != "x"),
            )
            for label, (tab, name, values) in zip(labels, rows, strict=True)
        ],
    )
    bars = Bars(weights, Axis("", list(keys), tokens=True), means="attention weight", most=SHOWN)
    panels = [
        [
            Panel(f"what head {head} attends to", bars, 0.32),
            Panel("the vectors, each on its own scale (orange below 0, blue above)", strips, 0.68),
        ]
    ]
    return Scene(
        f"{title} · “{token}” through layer {layer}, head {head}",
        f"{stages[chosen].title}. {sentence}",
        panels,
        _numbers(stages, rows, keys, shown),
    )


def _vectors(stages: Sequence[Stage]) -> list[tuple[str, str, np.ndarray]]:
    """(step, name, numbers) of every vector, in order of computation; equal vectors only once."""
    rows: list[tuple[str, str, np.ndarray]] = []
    for stage in stages:
        for vector in stage.vectors:
            values = vector.values.numpy()
            if not any(np.array_equal(values, other) for *_, other in rows):
                rows.append((stage.tab, vector.name, values))
    return rows


def _numbers(
    stages: Sequence[Stage], rows: Sequence[tuple], keys: Sequence[str], shown: Sequence[int]
) -> Numbers:
    """Every vector and every table of keys; the exported table has a row for each number."""
    arrays: list[Array] = []
    columns: dict[str, list[Any]] = {"step": [], "vector": [], "number": [], "value": []}
    for tab, name, values in rows:
        arrays.append(_named(arrays, f"{tab}: {name}", values, f"{tab}: {name}, a vector"))
        columns["step"] += [tab] * len(values)
        columns["vector"] += [name] * len(values)
        columns["number"] += range(len(values))
        columns["value"] += listed(values)
    for stage in stages:
        for name, values in stage.columns.items():
            own = values.numpy()[list(shown)]
            arrays.append(_named(arrays, f"{stage.tab}, {name}", own, stage.formula, "key"))
    return Numbers(arrays, {"key": list(keys)}, columns)


def _named(arrays: list[Array], name: str, values: Any, means: str, axis: str = "") -> Array:
    """An array with a unique name."""
    taken, unique, count = {one.name for one in arrays}, name, 2
    while unique in taken:
        unique, count = f"{name} ({count})", count + 1
    return Array(unique, values, (axis or f"number of {unique}",), means)
