"""A picture with weights over it, as a still picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...hub.patches import Patches
from ...tracing.packing import WEIGHT_SCALE
from ..shared.colours import INK, LINE, QUIET, colour_map
from ..shared.figures import blank, frame, shortened, write
from ..shared.messages import short
from .look import weight_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = 6  # pixels of a patch, small
OVER = 0.75  # opacity of the largest weight, where the picture is wholly faded
MOST = 192  # heads beyond which those of the chosen layer are shown alone


@dataclass(frozen=True, eq=False)
class PatchScene:
    """What the picture shows: `rows` are codes [layer, head, key] of the chosen position."""

    title: str
    sentence: str
    picture: np.ndarray
    patches: Any
    rows: np.ndarray
    query: int
    layer: int
    head: int
    heads: Sequence[int]
    fade: float


def blended(picture: np.ndarray, codes: np.ndarray, patches: Patches, fade: float) -> np.ndarray:
    """The picture, greyed, under the colours of its patches' weights, which are as opaque as the
    weights are large: floats [height, width, 3]."""
    colours = colour_map("viridis")
    weights = codes[patches.start : patches.start + patches.n].astype(float) / WEIGHT_SCALE
    shades = np.sqrt(weights / max(weights.max(), 1e-9)).reshape(patches.rows, patches.columns)
    height, width = picture.shape[0] // patches.rows, picture.shape[1] // patches.columns
    over = np.kron(colours(shades)[..., :3], np.ones((height, width, 1)))
    opacity = OVER * fade * np.kron(shades[..., None], np.ones((height, width, 1)))
    plain = picture[: over.shape[0], : over.shape[1]] / 255
    grey = (plain @ np.array([0.2126, 0.7152, 0.0722]))[..., None]
    under = plain * (1 - fade) + grey * fade
    return under * (1 - opacity) + over * opacity


def patch_figure(scene: PatchScene) -> Figure:
    patches = scene.patches
    every, labels = _every(scene)
    tall, wide = every.shape[0] / every.shape[1] * 4.5, 4.5  # inches of the heads
    if tall > 4.9:
        tall, wide = 4.9, 4.9 * every.shape[1] / every.shape[0]
    shown = min(4.3, 4.4 * patches.columns / patches.rows)  # of the picture's width
    whole = max(9.0, 0.3 + shown + 0.6 + wide + 0.3)
    figure = blank(whole, 6)
    write(figure, 0.2 / whole, 0.98, scene.title, size=12, weight="bold")
    write(figure, 0.2 / whole, 0.935, shortened(scene.sentence, 2), size=9)
    axes = figure.add_axes((0.2 / whole, 0.12, shown / whole, 0.7))
    axes.set_anchor("NW")
    codes = scene.rows[scene.layer, scene.head]
    axes.imshow(
        blended(scene.picture, codes, patches, scene.fade),
        extent=(0, patches.columns, patches.rows, 0), aspect="equal",
    )  # fmt: skip
    place = patches.place(scene.query)
    if place is not None:
        axes.add_patch(frame(place[1], place[0], 1, 1))
    _bare(axes)
    largest = weight_of(int(codes[patches.start : patches.start + patches.n].max()))
    told = f"yellow: {short(largest)}, clear: 0"
    others = [f"{patches.labels[i]} {short(weight_of(int(codes[i])))}" for i in patches.others]
    if others:
        some = others if len(others) <= 6 else [*others[:6], f"and {len(others) - 6} more"]
        told += f" · beside the picture: {', '.join(some)}"
    write(figure, 0.2 / whole, 0.09, told, size=8, color=QUIET)
    axes = figure.add_axes(((0.3 + shown + 0.5) / whole, 0.82 - tall / 6, wide / whole, tall / 6))
    axes.imshow(every, extent=(0, max(scene.heads), len(labels), 0), aspect="auto")
    row = labels.index(scene.layer) if scene.layer in labels else 0
    axes.add_patch(frame(scene.head, row, 0.96, 0.96))
    _bare(axes)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=7, colors=QUIET, labeltop=True, labelbottom=False)
    axes.set_xticks(
        [i + 0.48 for i in range(max(scene.heads))], [str(i) for i in range(max(scene.heads))]
    )
    axes.set_yticks([i + 0.48 for i in range(len(labels))], [str(i) for i in labels])
    write(figure, (0.3 + shown + 0.5) / whole, 0.885, "layer ↓  head →", size=7, color=INK)
    return figure


def _every(scene: PatchScene) -> tuple[np.ndarray, list[int]]:
    """All heads, or those of the chosen layer, as one picture; and the layers in it."""
    layers = list(range(len(scene.heads)))
    if len(scene.heads) * max(scene.heads) > MOST:
        layers = [scene.layer]
    patches, picture = scene.patches, scene.picture
    step = max(
        1, min(picture.shape[0] // patches.rows, picture.shape[1] // patches.columns) // CELL
    )
    small = picture[::step, ::step]
    height, width = small.shape[0] // patches.rows, small.shape[1] // patches.columns
    small = small[: height * patches.rows, : width * patches.columns]
    gap = 1 + len(small) // 24
    high, wide = len(small) + gap, small.shape[1] + gap
    sheet = np.ones((high * len(layers), wide * max(scene.heads), 3))
    for i, layer in enumerate(layers):
        for head in range(scene.heads[layer]):
            one = blended(small, scene.rows[layer, head], patches, scene.fade)
            at = (
                slice(i * high, i * high + len(one)),
                slice(head * wide, head * wide + one.shape[1]),
            )
            sheet[at] = one
    return sheet, layers


def _bare(axes: Any, colour: str = LINE, line: float = 0.5) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(colour)
        spine.set_linewidth(line)
