"""The views' colours, for style sheets and still images; palette.json is their only list.

viridis and cividis are matplotlib's (CC0); the other tables are straight lines in Oklab between a
few anchors: 256 entries of RRGGBB each. The colours of the heads are as far apart in Oklab as
possible, with a contrast of at least 3:1 on both themes' backgrounds: a head keeps its colour when
the theme changes.

Each colour has one meaning: chosen (a neutral fill) marks the selection, accent (blue) the focus,
edited (brown) the reader's changes, warning (red) a warning, and nothing else is red. "either" is
for figures that do not know their page's theme: its marks have at least 3:1 on both.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from .modules import VIEWS

_THEMES = ("light", "dark")


@cache
def palette() -> dict[str, Any]:
    return json.loads((VIEWS / "shared" / "palette.json").read_text("utf-8"))


_LIGHT = palette()["light"]
PAPER, INK, QUIET, LINE = (_LIGHT[name] for name in ("paper", "ink", "quiet", "line"))
ACCENT, EDITED = _LIGHT["accent"], _LIGHT["edited"]
BLOCKED, OTHER = palette()["still"]["blocked"], palette()["still"]["other"]


def colour_variables() -> str:
    """A style sheet with both themes' colours as variables: --tl-ink …"""
    rules = []
    for theme, where in zip(_THEMES, (".tl-view", '.tl-view[data-theme="dark"]'), strict=True):
        lines = "".join(f"  --tl-{name}: {value};\n" for name, value in palette()[theme].items())
        rules.append(f"{where} {{\n{lines}}}\n")
    return "".join(rules)


@cache
def colour_map(name: str = "sequential_light"):
    """A matplotlib colour map of palette.json."""
    from matplotlib.colors import ListedColormap

    digits = "".join(palette()["tables"][name])
    return ListedColormap([f"#{digits[i : i + 6]}" for i in range(0, len(digits), 6)], name)


def head_colours() -> tuple[str, ...]:
    """The sixteen colours of heads, the same in both themes."""
    return tuple(palette()["heads"])
