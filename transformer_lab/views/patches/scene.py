"""The scene of a PatchView."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...adapters.patches import Patches
from ..marks.scene import Axis, Bars, Overlay, Panel, Scene, Thumbnails
from ..shared.exports import Array, Numbers
from .look import say, weight_of

CELL = 6  # pixels per patch in a thumbnail
MOST = 192  # with more heads, only those of the chosen layer are shown


def patch_scene(
    title: str,
    sentence: str,
    picture: np.ndarray,
    patches: Patches,
    codes: np.ndarray,
    query: int,
    layer: int,
    head: int,
    heads: list[int],
    fade: float,
) -> Scene:
    """Draw the chosen head's weights over the image and on other positions, and all thumbnails.

    Args:
        picture: bytes [row, column, 3].
        codes: 16-bit weights [layer, head, key] of the chosen position.
        heads: how many each layer has.
    """
    weights = np.vectorize(weight_of, otypes=[np.float32])(codes)
    shape, place = (patches.rows, patches.columns), patches.place(query)
    inside = slice(patches.start, patches.start + patches.n)
    chosen, labels = weights[layer, head], list(patches.labels)
    over = Overlay(
        picture[
            : picture.shape[0] // shape[0] * shape[0], : picture.shape[1] // shape[1] * shape[1]
        ],
        chosen[inside].reshape(shape),
        np.array(labels[inside], dtype=object).reshape(shape),
        fade,
        framed=place and (place[1], place[1] + 1, place[0] + 1, place[0]),
        name=f"layer {layer}, head {head}",
    )
    layers = list(range(len(heads)))
    if len(layers) * max(heads) > MOST:
        layers = [layer]
    step = max(1, min(picture.shape[0] // shape[0], picture.shape[1] // shape[1]) // CELL)
    every = weights[layers][..., inside].reshape(len(layers), -1, *shape)
    for at, one in enumerate(layers):
        every[at, heads[one] :] = np.nan
    small = Thumbnails(
        every, [(layer, head)], picture=picture[::step, ::step], fade=fade, layers=layers
    )
    row = [Panel(over.name, over, 0.42), Panel("every head: layer ↓ head →", small, 0.42)]
    if others := list(patches.others):
        beside = Bars(chosen[others], Axis("", [labels[i] for i in others]))
        row.append(Panel("beside the picture", beside, 0.16))
    return Scene(title, sentence, [row], _numbers(patches, chosen))


def _numbers(patches: Patches, weights: np.ndarray) -> Numbers:
    """The chosen position's weight on every key, and where in the image that is."""
    key = ("key",)
    places = [patches.place(i) or (np.nan, np.nan) for i in range(len(weights))]
    rows, columns = np.array(places, dtype=float).T
    arrays = [
        Array(name, values, key, say(f"is_{name}"))
        for name, values in (("weight", weights), ("row", rows), ("column", columns))
    ]
    table: dict[str, Any] = {"key": list(range(len(weights))), "key_token": list(patches.labels)}
    for name, side in (("row", 0), ("column", 1)):
        table[name] = [None if place[side] != place[side] else place[side] for place in places]
    table["weight"] = weights.astype(str).tolist()
    return Numbers(arrays, {"key": patches.labels}, table)
