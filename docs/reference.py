"""Build the reference of the public API from its docstrings, for Sphinx's autodoc."""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Any

import transformer_lab as tl

# Public modules that define no names of their own; they are described where they are used.
INTERNAL = ("adapters",)
HEAD = """# Reference

Every public name, with its docstring. `import transformer_lab as tl` loads a name only when it is first
used.

"""


def modules() -> dict[str, ModuleType]:
    """The package, and its public modules, by the name they are imported as."""
    own = [name for name in tl.__all__ if isinstance(getattr(tl, name), ModuleType)]
    return {"transformer_lab": tl} | {
        f"transformer_lab.{name}": getattr(tl, name) for name in own if name not in INTERNAL
    }


def names(module: ModuleType) -> list[str]:
    """Public names of a module, except other modules: its `__all__`, or what it defines."""
    defined = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    listed = getattr(module, "__all__", defined)
    return [name for name in listed if not isinstance(getattr(module, name), ModuleType)]


def links(text: str) -> str:
    """A line, in Markdown, that links the public names of `tl` which occur in a text."""
    known = {f"{path}.{name}" for path, module in modules().items() for name in names(module)}
    found = set()
    for dotted in re.findall(r"\btl\.(\w+(?:\.\w+)?)", text):
        either = (f"transformer_lab.{dotted}", f"transformer_lab.{dotted.partition('.')[0]}")
        found |= set([name for name in either if name in known][:1])
    short = [
        f"{{py:obj}}`tl{name.removeprefix('transformer_lab')} <{name}>`" for name in sorted(found)
    ]
    return f"**In the reference:** {', '.join(short)}" if short else ""


def pages() -> dict[str, str]:
    """Markdown of each page, by the name of its file."""
    found = {}
    for path, module in modules().items():
        short = path.rpartition(".")[2]
        told = inspect.cleandoc(module.__doc__ or "").partition("\n\n")[0]
        entries = "\n".join(
            _entry(f"{path}.{name}", getattr(module, name)) for name in names(module)
        )
        title = "transformer_lab (tl)" if module is tl else f"tl.{short}"
        found[f"api_{short}.md"] = f"# {title}\n\n{told}\n\n```{{eval-rst}}\n{entries}\n```\n"
    listed = "\n".join(name.removesuffix(".md") for name in found)
    return found | {"reference.md": f"{HEAD}```{{toctree}}\n:maxdepth: 2\n\n{listed}\n```\n"}


def _entry(path: str, value: Any) -> str:
    if inspect.isclass(value):
        return f".. autoclass:: {path}\n   :members:\n"
    if callable(value):
        return f".. autofunction:: {path}\n"
    return f".. py:data:: {path}\n   :type: {type(value).__name__}\n"
