"""A BlockView as numbers for files."""

from __future__ import annotations

from typing import Any

from ..shared.exports import Array, Numbers, listed
from .figure import BlockScene


def block_numbers(scene: BlockScene) -> Numbers:
    """Every vector on the way, and every table of keys; a row of the table for each number."""
    found, axes = [], {"key": list(scene.keys)}
    columns: dict[str, list[Any]] = {"step": [], "vector": [], "number": [], "value": []}
    for tab, name, values in scene.rows:
        found.append(_named(found, f"{tab}: {name}", values, f"{tab}: {name}, a vector"))
        columns["step"] += [tab] * len(values)
        columns["vector"] += [name] * len(values)
        columns["number"] += range(len(values))
        columns["value"] += listed(values)
    for stage in scene.stages:
        if stage.keys is None:
            continue
        for name, values in zip(stage.keys.columns, stage.keys.numbers, strict=True):
            shown = values.numpy()[list(scene.shown)]
            found.append(_named(found, f"{stage.tab}, {name}", shown, stage.formula, "key"))
    return Numbers(found, axes, columns)


def _named(found: list[Array], name: str, values: Any, means: str, axis: str = "") -> Array:
    """An array whose name no other has."""
    taken, unique, count = {one.name for one in found}, name, 2
    while unique in taken:
        unique, count = f"{name} ({count})", count + 1
    return Array(unique, values, (axis or f"number of {unique}",), means)
