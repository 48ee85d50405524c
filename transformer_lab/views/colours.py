"""The views' colours for still pictures, read from the tables that the browser uses."""

from __future__ import annotations

import re
from functools import cache

from .modules import STATIC

INK, QUIET, LINE, ACCENT, BLOCKED = "#1b1f24", "#59636e", "#d4d9df", "#b3261e", "#eef0f2"


@cache
def colour_map(name: str = "SEQUENTIAL_LIGHT"):
    """A matplotlib colour map of static/colour_tables.js."""
    from matplotlib.colors import ListedColormap

    source = (STATIC / "colour_tables.js").read_text("utf-8")
    table = re.search(rf"export const {name} =\s*((?:\"[0-9a-f]+\"[\s+]*)+);", source)
    if table is None:
        raise ValueError(f"colour map {name!r} is not in colour_tables.js")
    digits = "".join(re.findall(r"[0-9a-f]+", table[1]))
    return ListedColormap([f"#{digits[i : i + 6]}" for i in range(0, len(digits), 6)], name)


@cache
def head_colours(theme: str = "light") -> tuple[str, ...]:
    """The sixteen head colours of static/colours.js."""
    source = (STATIC / "colours.js").read_text("utf-8")
    names = re.search(rf"const HEADS_{theme.upper()} = \[(.*?)\];", source, re.S)
    assert names is not None
    return tuple(re.findall(r"#[0-9a-f]{6}", names[1]))
