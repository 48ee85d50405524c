"""The views' colours, of which palette.js is the one list: for style sheets and still pictures."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from .modules import VIEWS

_THEMES = ("light", "dark")


@cache
def palette() -> dict[str, Any]:
    source = (VIEWS / "shared" / "palette.js").read_text("utf-8")
    return json.loads(source[source.index("{") : source.rindex("}") + 1])


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
    """A matplotlib colour map of palette.js."""
    from matplotlib.colors import ListedColormap

    digits = "".join(palette()["tables"][name])
    return ListedColormap([f"#{digits[i : i + 6]}" for i in range(0, len(digits), 6)], name)


def head_colours() -> tuple[str, ...]:
    """The sixteen colours of heads, the same in both themes."""
    return tuple(palette()["heads"])
