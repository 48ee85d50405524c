"""Bar charts of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from transformer_lab.lessons.pictures.picture import Picture
from transformer_lab.lessons.pictures.themes import Theme
from transformer_lab.views.shared.messages import fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS, BETWEEN = 2.57, 1.33  # inches: width of a panel's bars, and gap to the next panel
LETTER, NUMBER = 0.084, 0.55  # inches: width of a name's letter, and of a bar's number


def predictions(
    lists: dict[str, Sequence[tuple[str, float]]],
    *,
    title: str = "",
    alt: str,
    caption: str = "",
    units: Sequence[str] = (),
) -> Picture:
    """Bar charts of lists of (token, probability), one panel per list.

    Args:
        lists: maps the name of each panel to its tokens, likeliest first.
        units: the unit of each panel. Panels with the same unit share a scale; if units are left out,
            all panels do.

    Raises:
        ValueError: if there is no list, or the number of units differs from the number of lists.
    """
    if not lists:
        raise ValueError("predictions() needs at least one list of (token, probability)")
    if units and len(units) != len(lists):
        raise ValueError(
            f"units must have one entry per list, got {len(units)} for {len(lists)} lists; or leave it out"
        )
    longest = max(len(rows) for rows in lists.values())
    of = units or ("",) * len(lists)
    values = {u: [0.0] for u in of}
    for unit, rows in zip(of, lists.values(), strict=True):
        values[unit] += [p for _, p in rows]
    starts = _starts(lists)
    width = starts[-1] + BARS + BETWEEN

    def draw(theme: Theme) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, 0.3 * longest + 0.2))
        for start, unit, (name, rows) in zip(starts, of, lists.items(), strict=True):
            axes = figure.add_axes((start / width, 0, BARS / width, 1))
            axes.patch.set_alpha(0)
            places = np.arange(len(rows))
            axes.barh(places, [p for _, p in rows], color=theme.accent, height=0.62)
            for place, (_, p) in zip(places, rows, strict=True):
                axes.annotate(
                    _of_a_bar(p),
                    (max(p, 0.0), place),
                    (5, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                    color=theme.text,
                )
            axes.set_yticks(
                places,
                [token for token, _ in rows],
                family="DejaVu Sans Mono",
                fontsize=10,
                color=theme.text,
            )
            low, high = min(values[unit]), max(values[unit])
            wide = high - low or 1.0
            axes.set_xlim(low, low + wide * 1.02)
            axes.set_ylim(longest - 0.5, -0.6)
            axes.set_xticks([])
            axes.tick_params(length=0)
            for spine in ("top", "right", "bottom"):
                axes.spines[spine].set_visible(False)
            axes.spines["left"].set_color(theme.line)
            if low < 0:
                axes.spines["left"].set_visible(False)
                axes.axvline(0.0, color=theme.line, linewidth=0.8)
            axes.set_title(name, loc="left", color=theme.text, fontsize=10.5)
        if title:
            figure.text(0, 1 + 0.42 / figure.get_figheight(), title, fontsize=11, color=theme.text)
        return figure

    return Picture(draw, alt, caption)


def _starts(lists: dict[str, Sequence[tuple[str, float]]]) -> list[float]:
    """Where the bars of each panel start, in inches; the gaps between panels hold the numbers of
    one and the names of the next."""
    names = [max((len(token) for token, _ in rows), default=0) for rows in lists.values()]
    gaps = [0.0, *(max(BETWEEN, NUMBER + LETTER * n) for n in names[1:])]
    return [BARS * i + sum(gaps[: i + 1]) for i in range(len(lists))]


def _of_a_bar(value: float) -> str:
    """The number beside a bar: two decimals, or three if two would show only zeros."""
    return fixed(value, 2 if abs(value) >= 0.01 else 3)
