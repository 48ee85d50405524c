"""The views' colours, of which palette.json is the only list: for style sheets and still pictures.

viridis and cividis are matplotlib's (CC0); the other tables are straight lines in Oklab between a few
anchors: 256 entries of RRGGBB each. The colours of the heads were chosen as far apart as possible in
Oklab among those that reach 3:1 against the background of both themes: a head keeps its colour when the
theme changes.

Each colour has one meaning: chosen (a neutral fill) is what is selected, accent (blue) what is in focus,
edited (brown) what the reader changed, warning (red) what must be heeded, and nothing else is red.
"either" is for figures that do not know their page's theme: a mark has 3:1 and more on both.
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
    """The style sheet that names a theme's colours: --tl-ink …"""
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
