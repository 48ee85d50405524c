"""The scene of a PositionView."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..marks.scene import Axis, Curve, Curves, Mark, Matrix, Note, Panel, Scene, causal_gaps
from ..shared.exports import Array, Numbers
from .schemes import Known


def position_scene(
    title: str,
    sentence: str,
    scheme: str,
    head: int,
    causal: bool,
    encoding: Tensor | None,
    distances: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor],
    titles: tuple[str, str],
    names: Sequence[str],
) -> Scene:
    """Draw the encoding, its curve by distance, and a head's weights before and after the test.

    Args:
        encoding, distances: as returned by PositionView.encoding() and .by_distance().
        weights: before and after the test, [query, key] each; `titles` are above them.
    """
    its = Known(scheme)
    by = its.words["by_distance"]
    axes: dict = {"query": names, "key": names, "distance": distances[0].tolist()}
    maps = [causal_gaps(w) if causal else w.float().numpy() for w in weights]
    arrays = [
        Array(name, shown, ("query", "key"), f"attention weight, {name_of_test}")
        for name, shown, name_of_test in zip(("before", "after"), maps, titles, strict=True)
    ]
    by_distance, values = distances
    if its.banded:
        axes["line"] = ["mean", "least", "most"][: len(values)]
        curves = [Curve("", by_distance, values[0], band=(values[1], values[2]))]
    else:
        several = len(values) > 1
        curves = [
            Curve(f"head {i}" if several else "", by_distance, line, strong=several and i == head)
            for i, line in enumerate(values)
        ]
    where = ("line" if its.banded else "head", "distance")
    arrays.append(Array("by_distance", values, where, f"{by}, by key − query in tokens"))
    over = its.words.get("scale", its.words["added"]).format(head=head)
    shown_encoding: Mark = Note(its.words.get("nothing", ""))
    if encoding is not None:
        shown = its.shown(encoding, head)
        largest = its.largest(shown)
        if its.row == "query" and causal:
            shown = shown.masked_fill(torch.ones_like(shown).triu(1).bool(), torch.nan)
        shown_encoding = Matrix(
            shown, Axis(its.row), Axis(its.column), end=float(largest), signed=True
        )
        where = tuple(f"encoding {name}" for name in (its.row, its.column))
        arrays.append(Array("encoding", shown, where, over))
    most = float(torch.maximum(*weights).max())
    words = Axis("", names, tokens=True)
    tests = [
        Panel(
            name_of_test,
            Matrix(
                shown,
                words,
                words,
                "attention weight" if i else "",
                1.0 if most > 0.5 else most or 1.0,
                power=0.5,
                square=True,
            ),
        )
        for i, (shown, name_of_test) in enumerate(zip(maps, titles, strict=True))
    ]
    lines = Curves(
        curves, Axis("key − query, tokens"), legend=not its.banded and 1 < len(values) <= 8
    )
    return Scene(
        f"{title} · {its.name}",
        sentence,
        [[Panel(over, shown_encoding), Panel(its.words["distance"], lines)], tests],
        Numbers(arrays, axes),
    )
