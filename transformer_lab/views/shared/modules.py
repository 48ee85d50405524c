"""Join several ES modules to one, without a build step.

A widget is one module: relative imports inside it fail, with blank output. The sources stay real
modules, which node and TypeScript read directly; this inlines `import { x } from "../shared/y.js"`
and `import y from "./messages.json" with { type: "json" }`. Every module keeps its own scope.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

VIEWS = Path(__file__).parent.parent

_IMPORT = re.compile(
    r'^import\s*\{([\w$,\s]*)\}\s*from\s*"(\.\.?/(?:[\w-]+/)*[\w.-]+)";[ \t]*\n', re.M
)
_JSON = re.compile(
    r'^import (\w+) from "(\.\.?/(?:[\w-]+/)*[\w.-]+\.json)" with \{ type: "json" \};\n', re.M
)
_EXPORT = re.compile(r"^export\s+(?=(?:async\s+)?(?:const|function\*?|class)\s+([\w$]+))", re.M)


def join_modules(entry: Path) -> str:
    """The source of one ES module that contains `entry` and everything it imports.

    Raises:
        ValueError: for any other form of import or export, and for a cycle.
    """
    joined = _Joined()
    body = joined.read(entry.resolve(), ())
    return "\n".join([*joined.parts, f"// --- {_name(entry)}\n{body}"])


def module_expression(entry: Path) -> str:
    """A JavaScript expression: the exports of a module, as an object.

    Raises:
        ValueError: as `join_modules`.
    """
    joined = _Joined()
    name = joined.add(entry.resolve(), ())
    return "\n".join(["(() => {", *joined.parts, f"return {name};", "})()"])


@dataclass
class _Joined:
    """Modules read so far, each after those that it imports."""

    parts: list[str] = field(default_factory=list)
    names: dict[Path, str] = field(default_factory=dict)

    def add(self, path: Path, above: tuple[Path, ...]) -> str:
        """Add a module once; the name of the object that holds what it exports."""
        if path in above:
            raise ValueError(f"{_name(path)} imports itself by way of {_name(above[-1])}")
        if path not in self.names:
            if path.suffix == ".json":
                read = json.loads(path.read_text("utf-8"))
                body = json.dumps(read, ensure_ascii=False).replace("<", "\\u003c")
            else:
                body = _scoped(path, self.read(path, above))
            self.names[path] = f"${len(self.names)}"
            self.parts.append(f"// --- {_name(path)}\nconst {self.names[path]} = {body};\n")
        return self.names[path]

    def read(self, path: Path, above: tuple[Path, ...]) -> str:
        """The source of a module, with its imports taken from other modules' objects."""

        def imported(match: re.Match[str]) -> str:
            where = self.add((path.parent / match[2]).resolve(), (*above, path))
            names = re.sub(r"\s+as\s+", ": ", match[1])
            return f"const {{{names}}} = {where};\n"

        def parsed(match: re.Match[str]) -> str:
            return f"const {match[1]} = {self.add((path.parent / match[2]).resolve(), ())};\n"

        body = _JSON.sub(parsed, _IMPORT.sub(imported, path.read_text("utf-8")))
        if re.search(r"^import\b", body, re.M):
            raise ValueError(
                f'{_name(path)}: only `import {{ names }} from "./module.js";` is supported'
            )
        return body


def _scoped(path: Path, body: str) -> str:
    """A module's source as an expression: a function's scope, and an object of what it exports."""
    exported = _EXPORT.findall(body)
    body = _EXPORT.sub("", body)
    if re.search(r"^export\b", body, re.M):
        raise ValueError(f"{_name(path)}: a helper may only export const, function or class")
    return f"(() => {{\n{body}return {{ {', '.join(exported)} }};\n}})()"


def _name(path: Path) -> str:
    """A module's name in messages, with its folder, since two views may each have a numbers.js."""
    return f"{path.parent.name}/{path.name}"
