"""Vectors as points in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from transformer_lab.lessons.pictures.numbers import as_array, written
from transformer_lab.lessons.pictures.picture import Picture
from transformer_lab.lessons.pictures.themes import Theme

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def mixing(
    words: Sequence[str],
    values: torch.Tensor,
    weights: torch.Tensor,
    *,
    word: int,
    title: str,
    axes_names: tuple[str, str],
    alt: str,
    caption: str = "",
) -> Picture:
    """Value vectors as points in a plane, and one word's output: their weighted mean.

    Args:
        words: one label per word.
        values: [key, 2].
        weights: [query, key].
        word: the query whose output is drawn.
    """
    points, share = as_array(values), as_array(weights)[word]
    if points.shape[1] != 2:
        raise ValueError(
            f"values must have 2 columns, got {points.shape[1]}; they are points in a plane"
        )
    target = share @ points

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.4, 3.6))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_facecolor(theme.page)
        for point, part in zip(points, share, strict=True):
            axes.plot(
                [target[0], point[0]],
                [target[1], point[1]],
                color=theme.accent,
                linewidth=0.6 + 6 * part,
                alpha=0.25 + 0.5 * part,
                solid_capstyle="round",
                zorder=1,
            )
        axes.scatter(*points.T, s=36 + 420 * share, color=theme.accent, zorder=2)
        axes.scatter(*target, s=110, marker="D", color=theme.second, zorder=3)
        for label, point, part in zip(words, points, share, strict=True):
            _label(axes, f"{label} {written(part, 'weights')}", point, theme, mono=True)
        _label(axes, f"output of “{words[word]}”", target, theme, below=True)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
        for spine in ("left", "bottom"):
            axes.spines[spine].set_color(theme.line)
        axes.tick_params(colors=theme.quiet, labelsize=9, length=3)
        axes.set_xlabel(axes_names[0], color=theme.quiet, fontsize=9)
        axes.set_ylabel(axes_names[1], color=theme.quiet, fontsize=9)
        axes.set_title(title, loc="left", color=theme.text, fontsize=10.5)
        axes.margins(0.16, 0.16)
        return figure

    return Picture(draw, alt, caption)


def _label(
    axes: Axes, text: str, point: np.ndarray, theme: Theme, *, mono: bool = False, below=False
) -> None:
    axes.annotate(
        text,
        (float(point[0]), float(point[1])),
        (0, -12 if below else 12),
        textcoords="offset points",
        ha="right" if below else "center",
        va="top" if below else "bottom",
        fontsize=9,
        color=theme.second if below else theme.text,
        family="DejaVu Sans Mono" if mono else "DejaVu Sans",
        zorder=4,
    )
