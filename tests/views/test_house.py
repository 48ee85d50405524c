"""The architecture of the views: no import cycles, and no use of others' private names."""

import ast
import re
from pathlib import Path

from transformer_lab.views.shared.modules import VIEWS

FILES = sorted(VIEWS.rglob("*.py"))
ROOT = "transformer_lab.views"


def name_of(path: Path) -> str:
    parts = path.relative_to(VIEWS).with_suffix("").parts
    return ".".join([ROOT, *(part for part in parts if part != "__init__")])


def imports(path: Path) -> set[str]:
    """Modules of the views imported by this one, type-only imports included."""
    known = {name_of(other) for other in FILES}
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        inner = {f"{base}.{alias.name}" for alias in node.names} & known
        found |= inner or ({base} & known)
    return found - {name_of(path)}


def test_numbers_of_traits_are_ours():
    """Those of traitlets accept True for 1; see shared/traits.py."""
    theirs = re.compile(r"\bt\.(Int|Float)\b")
    assert [name_of(path) for path in FILES if theirs.search(path.read_text("utf-8"))] == [
        f"{ROOT}.shared.traits"
    ]


def test_imports_make_no_circle():
    left = {name_of(path): imports(path) for path in FILES}
    assert sum(map(len, left.values())) > 100
    while left:
        free = [name for name, wanted in left.items() if not wanted & set(left)]
        assert free, f"these import each other: {sorted(left)}"
        for name in free:
            del left[name]


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_nobody_reads_a_private_name_of_another_file():
    own = ("self", "cls")
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not any(private(alias.name) for alias in node.names), (path, node.lineno)
            if isinstance(node, ast.Attribute) and private(node.attr):
                of = node.value
                mine = isinstance(of, ast.Name) and of.id in own
                above = isinstance(of, ast.Call) and getattr(of.func, "id", "") == "super"
                assert mine or above, (str(path), node.lineno, node.attr)


def test_no_view_extends_another():
    """Views reuse each other's parts; overriding a viewer would require knowing all of it. What all
    share is in shared/, which knows no view."""
    sources = [path.read_text("utf-8") for path in VIEWS.rglob("*.js")]
    bases = re.findall(r"class \w+Viewer(?: extends (\w+))?", "\n".join(sources))
    assert len(bases) > 2 and set(bases) == {"", "BaseViewer"}
