"""Views: one Python class and one ES module each, with a still picture where no script runs.

A new view needs a folder and a line in __init__.pyi.
"""

import re
from importlib import import_module
from pathlib import Path

# Loaded at first use: nbconvert imports pages.export alone, and needs no torch for it.
_NAMES = {
    name: module
    for module, name in re.findall(
        r"^from (\.[\w.]+) import (\w+) as \w+$",
        Path(__file__).with_suffix(".pyi").read_text("utf-8"),
        re.M,
    )
}
__all__ = sorted(_NAMES)  # type: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(import_module(_NAMES[name], __name__), name)
    raise AttributeError(f"transformer_lab.views has no {name!r}; it has {', '.join(__all__)}")
