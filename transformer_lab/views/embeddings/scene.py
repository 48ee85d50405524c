"""What an EmbeddingView shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..marks.scene import Panel, Scene, Space
from ..shared.exports import Array, Numbers
from ..shared.messages import messages

say = messages("embeddings")


def cloud_scene(
    title: str, sentence: str, coordinates: Tensor, paths: Tensor | None, shares: Sequence[float],
    norms: Tensor, kept: Tensor, points: dict[str, Any], by: str, colours: Sequence[Any],
    chosen: int | None,
) -> Scene:  # fmt: skip
    """Points in the first three principal components, and the ways of tokens through the layers.

    Args:
        coordinates: [point, 3] of the row on view; paths: [row, point, 3], where these are shown.
        shares: of the variance, [3]. norms, kept: [point].
        points: as the page has them. colours: of each point, by what is called `by`.
    """
    tokens, positions = list(points["tokens"]), points["positions"]
    says = [
        f"“{token}” ({position})\n{say('point', norm=norm, kept=part)}"
        for token, position, norm, part in zip(tokens, positions, norms.tolist(), kept.tolist(), strict=True)
    ]  # fmt: skip
    axes = [f"component {i + 1} ({100 * share:.0f} %)" for i, share in enumerate(shares)]
    lines = None if paths is None else paths.numpy()
    space = Space(
        coordinates.numpy(), tokens, says, axes, colours, by, lines, points["where"], chosen
    )
    holds, point = "the share of the variance that it holds", ("point",)
    found = [
        Array(f"component_{i + 1}", coordinates[:, i], point, f"principal component {i + 1}; {holds}: {share:.6g}")
        for i, share in enumerate(shares)
    ]  # fmt: skip
    found += [
        Array("position", np.array(positions), point, "in the text"),
        Array("length", norms, point, "L2 norm of the vector"),
        Array("kept", kept, point, "share of the squared length that three components keep"),
        Array(f"colour_{by}", np.array(colours), point, f"what the colour shows: the {by}"),
    ]
    along: dict[str, Any] = {"point": tokens}
    if paths is not None:
        along |= {"row": list(points["where"]), "component": [1, 2, 3]}
        means = "the way of each point through the layers"
        found.append(Array("path", lines, ("row", "point", "component"), means))
    return Scene(title, sentence, [[Panel("", space)]], Numbers(found, along))
