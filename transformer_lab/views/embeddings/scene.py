"""The scene of an EmbeddingView."""

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
    title: str,
    sentence: str,
    coordinates: Tensor,
    paths: Tensor | None,
    shares: Sequence[float],
    norms: Tensor,
    kept: Tensor,
    points: dict[str, Any],
    by: str,
    colours: Sequence[Any],
    chosen: int | None,
) -> Scene:
    """Draw points in the first three principal components, and their paths through the layers.

    Args:
        coordinates: [point, 3] of the row shown; paths: [row, point, 3], if they are shown.
        shares: fractions of the variance, [3]. norms, kept: [point].
        points: as the page has them. colours: of each point; `by` is their label.
    """
    tokens, positions = list(points["tokens"]), points["positions"]
    says = [
        f"“{token}” ({position})\n{say('point', norm=norm, kept=part)}"
        for token, position, norm, part in zip(
            tokens, positions, norms.tolist(), kept.tolist(), strict=True
        )
    ]
    axes = [f"component {i + 1} ({100 * share:.0f}%)" for i, share in enumerate(shares)]
    lines = None if paths is None else paths.numpy()
    space = Space(
        coordinates.numpy(), tokens, says, axes, colours, by, lines, points["where"], chosen
    )
    point = ("point",)
    found = [
        Array(
            f"component_{i}",
            coordinates[:, i - 1],
            point,
            say("is_component", component=i, share=f"{share:.6g}"),
        )
        for i, share in enumerate(shares, 1)
    ]
    found += [
        Array("position", np.array(positions), point, say("is_position")),
        Array("length", norms, point, say("is_length")),
        Array("kept", kept, point, say("is_kept")),
        Array(f"colour_{by}", np.array(colours), point, say("is_colour", colour=by)),
    ]
    along: dict[str, Any] = {"point": tokens}
    if paths is not None:
        along |= {"row": list(points["where"]), "component": [1, 2, 3]}
        found.append(Array("path", lines, ("row", "point", "component"), say("is_path")))
    return Scene(title, sentence, [[Panel("", space)]], Numbers(found, along))
