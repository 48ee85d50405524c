"""The scene of a PatchingView."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...analysis.patching.results import PatchingGrid
from ...edits.sites import OF_HEADS
from ..marks.scene import Axis, Matrix, Panel, Scene
from ..shared.exports import Array, Numbers
from .metric import Metric, say

ACROSS = 2  # grids in a row
SEEN = 0.02  # of the scale: smaller estimates look white, so they are not hatched


def patching_scene(
    title: str,
    sentence: str,
    grids: Mapping[str, PatchingGrid],
    site: str,
    chosen: tuple[int, int],
    metric: Metric,
    tokens: Sequence[str],
    shared: Mapping[str, int],
) -> Scene:
    """Draw the grid of the chosen site, then the others, on one scale; estimates are hatched.

    Args:
        grids: by site.
        chosen: (layer, column) of `site`.
        tokens: labels of the columns that are positions.
        shared: how many heads share a column of a site.
    """
    end = abs(metric.between)
    if metric.alike:
        sizes = [grid.values.abs().nan_to_num().max() for grid in grids.values()]
        end = float(max(sizes)) or 1.0
    order = sorted(grids, key=lambda one: one != site)

    def axis(one: str) -> str:
        if one not in OF_HEADS:
            return "position"
        return "head" if shared[one] == 1 else "key_value_head"

    def panel(one: str) -> Panel:
        grid, across = grids[one], axis(one)
        exact = grid.exact.double().numpy()
        measured = np.where(np.isnan(exact), "an estimate", "measured")
        values = grid.values.double().numpy()
        says = [
            [f"{x:+.4f}, {how}" for x, how in zip(*line, strict=True)]
            for line in zip(values, measured, strict=True)
        ]
        columns = Axis(across.replace("_", " "))
        if across == "position":
            columns = Axis("position", tokens, tokens=True)
        matrix = Matrix(
            values,
            Axis("layer"),
            columns,
            f"toward the {metric.runs[0]} run" if one == site else "",
            end,
            signed=True,
            flipped=metric.sign < 0,
            says=says,
            name=say("site", site=one),
            hatched=(grid.exact.isnan() & (grid.estimate.abs() >= SEEN * end)).numpy(),
            chosen=chosen if one == site else None,
        )
        count = f"{int((~grid.exact.isnan()).sum())} of {int(grid.there.sum())} measured"
        return Panel(f"{say('site', site=one)} · {count}", matrix)

    rest = [panel(one) for one in order[1:]]
    rows = [rest[i : i + ACROSS] for i in range(0, len(rest), ACROSS)]
    into, source = metric.runs[::-1]
    found = []
    for one in order:
        more = "" if one == site else f"_{one}"
        for way, values in (("exact", grids[one].exact), ("estimate", grids[one].estimate)):
            means = say(
                "is_effect",
                description=metric.description,
                site=one,
                source=source,
                into=into,
                way=way,
            )
            found.append(Array(f"{way}{more}", values, ("layer", axis(one)), means))
    return Scene(title, sentence, [[panel(site)], *rows], Numbers(found, {"position": tokens}))
