"""An EmbeddingView as numbers for files."""

from __future__ import annotations

import numpy as np

from ..shared.exports import Array, Numbers
from .figure import CloudScene


def cloud_numbers(scene: CloudScene) -> Numbers:
    """A row for each point: where it stands in three principal components, and what it is."""
    point, at = ("point",), scene.coordinates
    found = [
        Array(f"component_{i + 1}", at[:, i], point,
              f"principal component {i + 1}; the share of the variance that it holds: {share:.6g}")
        for i, share in enumerate(scene.shares)
    ]  # fmt: skip
    colours = np.array(scene.colours)
    found += [
        Array("position", np.array(scene.positions), point, "in the text"),
        Array("length", scene.norms, point, "L2 norm of the vector"),
        Array("kept", scene.kept, point, "share of the squared length that three components keep"),
        Array(f"colour_{scene.by}", colours, point, f"what the colour shows: the {scene.by}"),
    ]
    axes: dict = {"point": list(scene.tokens)}
    if scene.paths is not None:
        axes |= {"row": list(scene.rows), "component": [1, 2, 3]}
        means = "the way of each point through the layers"
        found.append(Array("path", scene.paths, ("row", "point", "component"), means))
    return Numbers(found, axes)
