"""A PatchView as numbers for files."""

from __future__ import annotations

import numpy as np

from ..shared.exports import Array, Numbers
from .figure import PatchScene
from .look import weight_of


def patch_numbers(scene: PatchScene) -> Numbers:
    """What the chosen position gives to every other, and where in the picture that stands."""
    patches, where = scene.patches, ("key",)
    codes = scene.rows[scene.layer, scene.head]
    weights = np.array([weight_of(int(code)) for code in codes], dtype=np.float32)
    places = [patches.place(i) for i in range(len(weights))]
    rows, columns = ([None if p is None else p[side] for p in places] for side in (0, 1))
    as_numbers = [np.array([np.nan if v is None else v for v in x]) for x in (rows, columns)]
    means = "attention weight of the chosen position, rounded as it is shown"
    found = [
        Array("weight", weights, where, means),
        Array(
            "row", as_numbers[0], where, "of patches, counted from the top; NaN beside the picture"
        ),
        Array("column", as_numbers[1], where, "of patches, counted from the left"),
    ]
    table = {"key": list(range(len(weights))), "key_token": list(patches.labels), "row": rows,
             "column": columns, "weight": weights.astype(str).tolist()}  # fmt: skip
    return Numbers(found, {"key": patches.labels}, table)
