"""Matrices side by side, with a number in every cell."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from transformer_lab.lessons.pictures.numbers import as_array, written_alike
from transformer_lab.lessons.pictures.picture import Picture
from transformer_lab.lessons.pictures.themes import Theme, ink, tone

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Grid:
    """One matrix of a figure, with a number in every cell.

    Args:
        values: [row, column]; −∞ marks a hidden cell.
        rows, columns: labels.
        title: the finding or the name, in one line; a second line, after a newline, is less prominent.
        kind: "weights" (0 to 1, one colour), "scores" (signed) or "plain" (signed, small).
        x, y: names of the axes.
        box: rows to outline.
        limit: the value with the strongest colour; by default 1 for weights, else the largest size.
    """

    values: torch.Tensor | np.ndarray | Sequence[Sequence[float]]
    rows: Sequence[str]
    columns: Sequence[str]
    title: str = ""
    kind: str = "scores"
    x: str = "key"
    y: str = "query"
    box: Sequence[int] = ()
    limit: float | None = None


def _draw_grid(axes: Axes, grid: Grid, theme: Theme) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Rectangle

    values = as_array(grid.values)
    words = written_alike(values, grid.kind)
    longest = max((len(word) for line in words for word in line), default=1)
    finite = np.abs(values[np.isfinite(values)])
    limit = grid.limit or (1.0 if grid.kind == "weights" else max(float(finite.max()), 1e-9))
    cells: dict[bool, list[tuple[list[tuple[int, int]], np.ndarray]]] = {True: [], False: []}
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            hidden = not np.isfinite(value)
            # Scores do not reach the darkest tone, which is reserved for a weight of 1.
            reach = 1.0 if grid.kind == "weights" else 0.62
            share = 0.0 if hidden else reach * abs(value) / limit
            colour = tone(theme, value, share, signed=grid.kind != "weights")
            corners = [(column + x, row + y) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
            cells[bool(hidden)].append((corners, colour))
            axes.text(
                column + 0.5,
                row + 0.52,
                words[row][column],
                ha="center",
                va="center",
                fontsize=min(9.5, 42 / longest),
                color=theme.quiet if hidden else ink(colour),
                bbox={"facecolor": theme.page, "edgecolor": "none", "pad": 1.0} if hidden else None,
                in_layout=False,  # it fits in its cell, so the layout can ignore it
            )
    for hidden, drawn in cells.items():  # one patch per cell would take a third of the drawing time
        axes.add_collection(
            PolyCollection(
                [corners for corners, _ in drawn],
                facecolors=theme.page if hidden else [colour for _, colour in drawn],
                edgecolors=theme.line,
                linewidths=0.6,
                hatch="////" if hidden else None,
            ),
            autolim=False,
        )
    for row in grid.box:
        axes.add_patch(
            Rectangle((0, row), values.shape[1], 1, fill=False, edgecolor=theme.second, linewidth=2)
        )
    axes.set_xlim(0, values.shape[1])
    axes.set_ylim(values.shape[0], 0)
    axes.set_aspect("equal")
    _name_sides(axes, grid, theme)


def _name_sides(axes: Axes, grid: Grid, theme: Theme) -> None:
    """Labels of rows and columns, names of the axes, and the title."""
    mono = {"family": "DejaVu Sans Mono", "fontsize": 9, "color": theme.text}
    axes.set_xticks(np.arange(len(grid.columns)) + 0.5, grid.columns, **mono)
    axes.set_yticks(np.arange(len(grid.rows)) + 0.5, grid.rows, **mono)
    if max((len(label) for label in grid.columns), default=0) > 4:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(grid.x, color=theme.quiet, fontsize=9)
    axes.set_ylabel(grid.y, color=theme.quiet, fontsize=9)
    head, _, sub = grid.title.partition("\n")
    axes.set_title(head, loc="left", color=theme.text, fontsize=10.5, pad=20 if sub else 6)
    if sub:
        axes.annotate(
            sub,
            (0, 1),
            (0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            color=theme.quiet,
            fontsize=9,
        )


def grids(*panels: Grid, alt: str, caption: str = "", steps: Sequence[str] = ()) -> Picture:
    """Matrices side by side, with arrows between them; `steps` are the labels of the arrows."""
    if not panels:
        raise ValueError("grids() needs at least one Grid, got none")
    if len(steps) not in (0, len(panels) - 1):
        raise ValueError(
            f"steps must have {len(panels) - 1} entries for {len(panels)} grids, got {len(steps)}"
        )

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure

        shapes = [as_array(panel.values).shape for panel in panels]
        cell = 0.44
        shown = [panels[0], *(_without_rows(panel, panels[0]) for panel in panels[1:])]
        gaps = [
            _gap(a, b, as_array(a.values).shape[1] * cell) for a, b in itertools.pairwise(shown)
        ]
        width = sum(shape[1] for shape in shapes) * cell + sum(gaps)
        height = max(shape[0] for shape in shapes) * cell
        figure = Figure(figsize=(width, height))
        left = 0.0
        for index, (panel, shape) in enumerate(zip(shown, shapes, strict=True)):
            size = (shape[1] * cell / width, shape[0] * cell / height)
            axes = figure.add_axes((left / width, 1 - size[1], *size))
            axes.patch.set_alpha(0)
            _draw_grid(axes, panel, theme)
            left += shape[1] * cell
            if index == len(gaps):
                break
            if steps:
                middle = (left + gaps[index] / 2) / width
                figure.text(
                    middle, 0.5, "→", ha="center", va="center", fontsize=16, color=theme.quiet
                )
                figure.text(
                    middle,
                    0.5 + 0.2 / height,
                    steps[index],
                    ha="center",
                    va="bottom",
                    fontsize=9,
                    color=theme.text,
                )
            left += gaps[index]
        return figure

    return Picture(draw, alt, caption)


def _gap(left: Grid, right: Grid, width: float) -> float:
    """Inches between a grid of this width and the next. The gap holds the part of the left title that
    is longer than its grid, and the row labels and axis name of the right grid."""
    titles = max(0.085 * len(line) for line in left.title.split("\n")) - width + 0.15
    rows = 0.08 * max((len(row) for row in right.rows), default=0) + (0.35 if right.y else 0.15)
    return max(0.95, titles, rows)


def _without_rows(panel: Grid, first: Grid) -> Grid:
    """The same grid, without row labels if the first grid already shows them."""
    if list(panel.rows) != list(first.rows) or panel.y != first.y:
        return panel
    return replace(panel, rows=[""] * len(panel.rows), y="")
