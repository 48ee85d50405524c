"""How much code each folder has, whatever its format: see test_ledger.py.

    python -m tests.ledger            writes tests/ledger.json

Counted are characters, in thousands, without blanks, comments and docstrings. The words of views,
in their catalogues, are counted beside the code.
"""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import tokenize
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEDGER = Path(__file__).with_suffix(".json")
WHERE = ("transformer_lab", "docs", "benchmarks", "tests")
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
PIECE = re.compile(  # a comment or a string of JavaScript, CSS or C
    r"""//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`""", re.S
)


def of_python(text: str) -> int:
    """Characters of code in a Python module; commas are left out, since formatters add them."""
    documented = {
        (node.body[0].lineno, node.body[0].col_offset)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None
    }
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = (t for t in tokens if t.type not in LAYOUT and t.start not in documented)
    return sum(len("".join(t.string.split())) for t in code if t.string != ",")


def of_script(text: str) -> int:
    """Characters of code in a file of JavaScript, CSS or C, without commas."""
    kept = PIECE.sub(lambda piece: "" if piece[0][:2] in ("//", "/*") else piece[0], text)
    return len(re.sub(r"[\s,]", "", kept))


def of_words(text: str) -> int:
    """Characters of the messages in a catalogue."""
    return sum(map(len, json.loads(text).values()))


COUNTERS: dict[str, Callable[[str], int]] = {
    ".py": of_python,
    **dict.fromkeys((".js", ".mjs", ".css", ".c"), of_script),
}


def folder_of(name: str) -> str:
    """The folder under which a file is counted; views have one each."""
    parts = name.split("/")[:-1]
    return "/".join(parts[: 3 if parts[1:2] == ["views"] and parts[0] == WHERE[0] else 2])


def measured() -> dict[str, dict[str, float]]:
    """Thousands of characters: "code" by folder, and "words" by the folder of the catalogue."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *WHERE],
        cwd=ROOT,
        text=True,
    )
    found: dict[str, Counter[str]] = {"code": Counter(), "words": Counter()}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if not path.exists():
            continue
        if path.suffix in COUNTERS:
            count = COUNTERS[path.suffix](path.read_text("utf-8"))
            found["code"][folder_of(name)] += count
        elif re.fullmatch(r"messages(\.\w+)?\.json", path.name) and name.startswith(WHERE[0]):
            found["words"][folder_of(name)] += of_words(path.read_text("utf-8"))
    return {
        kind: {folder: round(count / 1000, 1) for folder, count in sorted(counts.items())}
        for kind, counts in found.items()
    }


if __name__ == "__main__":
    LEDGER.write_text(json.dumps(measured(), indent=1) + "\n", "utf-8")
