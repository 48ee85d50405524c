"""Small images in rows: the input, and maps over the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transformer_lab.lessons.pictures.numbers import as_array
from transformer_lab.lessons.pictures.picture import Picture
from transformer_lab.lessons.pictures.themes import Theme, tone

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Tile:
    """One small image.

    Args:
        values: [row, column]; drawn in the scale of weights, or in blue and brown if any tile in its
            row has a value below 0.
        title: one line above it.
        most: the value with the strongest tone; by default the largest absolute value in the tile.
        cut: the patch size in pixels, to draw lines between patches; 0 draws none.
    """

    values: torch.Tensor | np.ndarray | Sequence[Sequence[float]]
    title: str = ""
    most: float | None = None
    cut: int = 0


def tiles(rows: dict[str, Sequence[Tile]], *, alt: str, caption: str = "") -> Picture:
    """Rows of small images, with the name of each row on its left.

    Args:
        rows: maps the name of each row to its tiles.

    Raises:
        ValueError: if there is no tile.
    """
    wide = max((len(row) for row in rows.values()), default=0)
    if not wide:
        raise ValueError("tiles() needs at least one row with a Tile, got none")

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure

        side, gap, head = 0.86, 0.16, 0.26
        width, height = wide * (side + gap) - gap, len(rows) * (side + head) - 0.04
        figure = Figure(figsize=(width, height))
        for down, (name, row) in enumerate(rows.items()):
            bottom = 1 - ((down + 1) * (side + head) - 0.04) / height
            signed = any((as_array(tile.values) < 0).any() for tile in row)
            for along, tile in enumerate(row):
                place = (along * (side + gap) / width, bottom, side / width, side / height)
                axes = figure.add_axes(place)
                _draw(axes, tile, theme, signed)
                if not along:
                    axes.set_ylabel(
                        name, color=theme.text, fontsize=9, rotation=0, ha="right", va="center"
                    )
        return figure

    return Picture(draw, alt, caption)


def _draw(axes: Axes, tile: Tile, theme: Theme, signed: bool) -> None:
    values = as_array(tile.values)
    most = tile.most or max(float(np.abs(values).max()), 1e-9)
    colours = [[tone(theme, v, abs(v) / most, signed=signed) for v in line] for line in values]
    axes.imshow(np.array(colours), interpolation="nearest")
    if tile.cut:
        for count, lines in ((values.shape[0], axes.axhline), (values.shape[1], axes.axvline)):
            for at in range(tile.cut, count, tile.cut):
                lines(at - 0.5, color=theme.quiet, linewidth=0.6)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(theme.line)
    axes.set_title(tile.title, loc="left", color=theme.quiet, fontsize=8.5, pad=3)
