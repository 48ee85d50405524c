"""A PatchingView as numbers for files."""

from __future__ import annotations

from ..shared.exports import Array, Numbers
from .figure import PatchingScene


def patching_numbers(scene: PatchingScene) -> Numbers:
    """Exact numbers and estimates of the chosen site, and of every other one; those of the same axes
    make the table of a CSV file."""
    found, axes = [], {"position": scene.tokens}
    into, source = scene.metric.runs[::-1]
    for site in sorted(scene.grids, key=lambda one: one != scene.site):
        grid = scene.grids[site]
        where = ("layer", scene.axis(site))
        told = f"change of the {scene.metric.told} when {site} of the {source} run is put into the {into} one"
        more = "" if site == scene.site else f"_{site}"
        found += [
            Array(f"exact{more}", grid.exact, where, f"{told}, measured"),
            Array(f"estimate{more}", grid.estimate, where, f"{told}, by attribution patching"),
        ]
    return Numbers(found, axes)
