"""The colours of light and dark pages, and the colour scales of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Theme:
    """The colours of a light or dark page. Contrast with `page` is 4.5:1 for text and 3:1 for marks.

    `sequential` is the scale of weights, which are never below 0. `positive` and `negative` are the
    scales of signed numbers: blue and brown in both themes, as in the views.
    """

    name: str
    page: str
    text: str
    quiet: str
    line: str
    accent: str
    second: str
    sequential: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]


LIGHT = Theme(
    name="light",
    page="#ffffff",
    text="#1f2328",
    quiet="#5b6370",
    line="#c9ced6",
    accent="#1f6fd0",
    second="#b4530a",
    sequential=(
        "#ffffff",
        "#dbe9f9",
        "#a6caf0",
        "#6da6e1",
        "#3c7fc9",
        "#1b56a2",
        "#0a2f6b",
    ),  # as in views
    positive=("#ffffff", "#c6dbf2", "#7fafe2", "#3979c0", "#0a3f86"),
    negative=("#ffffff", "#f9dcc4", "#eda66f", "#cd6a23", "#8c3f0b"),
)
DARK = Theme(
    name="dark",
    page="#111111",
    text="#e3e6ea",
    quiet="#a2aab5",
    line="#454b54",
    accent="#74aef5",
    second="#f0a35e",
    sequential=(
        "#191c21",
        "#283047",
        "#424d73",
        "#6c6d90",
        "#a38f93",
        "#dfb985",
        "#fdf3b0",
    ),  # as in views
    positive=("#1a1c21", "#243c59", "#396ba1", "#68a3e1", "#b5d8ff"),
    negative=("#1a1c21", "#4b3728", "#915c2d", "#d78d45", "#ffc98a"),
)


def tone(theme: Theme, value: float, share: float, *, signed: bool) -> np.ndarray:
    """Return the colour of a number, at the fraction `share` of the way to the strongest tone."""
    weights = theme.positive if signed else theme.sequential
    return rgb(weights if value >= 0 else theme.negative, share)


def rgb(stops: Sequence[str], share: float) -> np.ndarray:
    from matplotlib.colors import to_rgb

    place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    a, b = (np.asarray(to_rgb(stop)) for stop in stops[low : low + 2])
    return a + (b - a) * (place - low)


def ink(colour: np.ndarray) -> str:
    """Black or white, depending on which is easier to read on the colour (WCAG relative luminance)."""
    linear = np.where(colour <= 0.03928, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return "#000000" if luminance > 0.179 else "#ffffff"
