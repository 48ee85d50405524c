"""Join several ES modules to one, without a build step.

A widget is one module: relative imports inside it fail, with blank output. The sources stay real
modules, which node and TypeScript read directly; this inlines `import { x } from "../shared/y.js"`
and `import y from "./messages.json" with { type: "json" }`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

VIEWS = Path(__file__).parent.parent

_IMPORT = re.compile(
    r'^import\s*\{[\w$,\s]*\}\s*from\s*"(\.\.?/(?:[\w-]+/)*[\w.-]+)";[ \t]*\n', re.M
)
_JSON = re.compile(
    r'^import (\w+) from "(\.\.?/(?:[\w-]+/)*[\w.-]+\.json)" with \{ type: "json" \};\n', re.M
)
_TOP_LEVEL = re.compile(
    r"^(?:export\s+)?(?:async\s+)?(?:const|let|var|function\*?|class)\s+([\w$]+)", re.M
)


def join_modules(entry: Path) -> str:
    """The source of one ES module that contains `entry` and everything it imports.

    Raises:
        ValueError: for any other form of import or export, for a cycle, and for a name that two
            modules define at their top level, since it would clash.
    """
    parts: list[str] = []
    _add(entry.resolve(), parts, done=set(), above=())
    owners: dict[str, str] = {}
    for part in parts:
        module = part.split("\n", 1)[0].removeprefix("// --- ")
        for name in _TOP_LEVEL.findall(part):
            if name in owners:
                raise ValueError(f"{name} is defined in both {owners[name]} and {module}")
            owners[name] = module
    return "\n".join(parts)


def _add(path: Path, parts: list[str], done: set[Path], above: tuple[Path, ...]) -> None:
    if path in above:
        raise ValueError(f"{_name(path)} imports itself by way of {_name(above[-1])}")
    if path in done:
        return
    done.add(path)
    source = path.read_text("utf-8")
    for match in _IMPORT.finditer(source):
        _add((path.parent / match[1]).resolve(), parts, done, (*above, path))
    for name, where in _JSON.findall(source):
        read = json.loads((path.parent / where).read_text("utf-8"))
        text = json.dumps(read, ensure_ascii=False).replace("<", "\\u003c")
        parts.append(f"// --- {_name((path.parent / where).resolve())}\nconst {name} = {text};\n")
    body = _JSON.sub("", _IMPORT.sub("", source))
    if re.search(r"^import\b", body, re.M):
        raise ValueError(
            f'{_name(path)}: only `import {{ names }} from "./module.js";` is supported'
        )
    if above:
        if re.search(r"^export\s+(default\b|\{|\*)", body, re.M):
            raise ValueError(f"{_name(path)}: a helper may only export const, function or class")
        body = re.sub(r"^export\s+(?=(const|let|function|class|async)\b)", "", body, flags=re.M)
    parts.append(f"// --- {_name(path)}\n{body}")


def _name(path: Path) -> str:
    """A module's name in messages, with its folder, since two views may each have a numbers.js."""
    return f"{path.parent.name}/{path.name}"
