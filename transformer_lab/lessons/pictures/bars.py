"""Probabilities as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from transformer_lab.lessons.pictures.numbers import written
from transformer_lab.lessons.pictures.picture import Picture
from transformer_lab.lessons.pictures.themes import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def predictions(
    lists: dict[str, Sequence[tuple[str, float]]], *, title: str = "", alt: str, caption: str = ""
) -> Picture:
    """Lists of (token, probability), one a panel, as bars on the same scale.

    Args:
        lists: the panel's name to its tokens, likeliest first.
    """
    if not lists:
        raise ValueError("predictions() needs at least one list of (token, probability)")
    longest = max(len(rows) for rows in lists.values())
    most = max((p for rows in lists.values() for _, p in rows), default=1.0)

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3.9 * len(lists), 0.3 * longest + 0.2))
        for index, (name, rows) in enumerate(lists.items()):
            axes = figure.add_axes((index / len(lists), 0, 0.66 / len(lists), 1))
            axes.patch.set_alpha(0)
            places = np.arange(len(rows))
            axes.barh(places, [p for _, p in rows], color=theme.accent, height=0.62)
            for place, (_, p) in zip(places, rows, strict=True):
                shown = written(p, "weights") if p >= 0.01 else f"{p:.3f}"[1:]
                axes.annotate(
                    shown, (p, place), (5, 0), textcoords="offset points",
                    va="center", fontsize=9, color=theme.text,
                )  # fmt: skip
            axes.set_yticks(
                places, [token for token, _ in rows],
                family="DejaVu Sans Mono", fontsize=10, color=theme.text,
            )  # fmt: skip
            axes.set_xlim(0, most * 1.02)
            axes.set_ylim(longest - 0.5, -0.6)
            axes.set_xticks([])
            axes.tick_params(length=0)
            for spine in ("top", "right", "bottom"):
                axes.spines[spine].set_visible(False)
            axes.spines["left"].set_color(theme.line)
            axes.set_title(name, loc="left", color=theme.text, fontsize=10.5)
        if title:
            figure.text(0, 1 + 0.42 / figure.get_figheight(), title, fontsize=11, color=theme.text)
        return figure

    return Picture(draw, alt, caption)
