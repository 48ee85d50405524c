"""Find forms that give translated English away, in documents, lessons, docstrings and messages.

    python -m docs.check_prose [FILE …]      (all files that git knows, if none is named)

CONTRIBUTING.md says what to write instead.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
# A form, what to write instead, and an example sentence, which a test reads.
FORMS = [
    (r"\btold\b(?!\s+apart|:)", "reports, recognises, is passed", "The model is told its length."),
    (r"\bstands?\b(?!\s+(?:for|out)\b)", "is", "The norm stands before the block."),
    (r"\banew\b", "again", "The table is written anew."),
    (r"\bwhoever\b", "a reader who, if you", "Whoever reads this needs a kernel."),
    (r"\bhangs? on\b", "depends on", "The loss hangs on the seed."),
    (r"\bby heart\b", "memorise", "It learns the batch by heart."),
    (r"\bwithout (?:it|that|them):", "control:", "The head's weight (without it: none)."),
    (r"\bmark to beat\b", "baseline", "This is the mark to beat."),
    (r"\bfilled up\b", "padded", "Short texts are filled up."),
    (
        r"(?<!here )is no (?!such\b|longer\b|need\b|more\b|better\b|worse\b|different\b|other\b|larger\b|smaller\b)"
        r"[a-z]+",
        "is not a",
        "rate=2 is no share.",
    ),
    (
        r"\bwhat is (?:said|asked|given|looked at)\b",
        "the text, the request",
        "It sees what is given.",
    ),
    (
        r"\b(?:heads?|tokens?|words?|quer(?:y|ies)|positions?|letters?) (?:that )?looks? (?:most )?"
        r"(?:at|back)\b",
        "attends to",
        "The head looks at the first token.",
    ),
    (
        r"(?:^|[.:;] )Who [a-z]+ [^.?]*\.",
        "if you, a model that",
        "Who pays by the token pays more.",
    ),
    (r"\bdearer\b", "more expensive", "The larger model is dearer."),
]
PATTERNS = [(re.compile(form, re.MULTILINE | re.IGNORECASE), instead) for form, instead, _ in FORMS]


def passages(path: Path) -> Iterator[tuple[int, str]]:
    """The prose of a file, with the line (in a notebook, the cell) where each passage begins."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        yield 1, text
    elif path.suffix == ".json":  # a message on each line
        yield from enumerate(json.loads(text).values(), start=2)
    elif path.suffix == ".ipynb":
        for number, cell in enumerate(nbformat.reads(text, as_version=4).cells, start=1):
            if cell.cell_type == "markdown":
                yield number, cell.source
            elif cell.cell_type == "code":
                yield from ((number, words) for _, words in strings(cell.source))
    elif path.suffix == ".py":
        yield from strings(text)


def strings(code: str) -> Iterator[tuple[int, str]]:
    """Strings of Python code, and the line of each; an f-string has … in place of each value."""
    tree, seen = ast.parse(code), set()
    for node in ast.walk(tree):  # an f-string comes before its parts
        if node in seen:
            continue
        if isinstance(node, ast.JoinedStr):
            seen |= set(node.values)
            parts = (getattr(part, "value", None) for part in node.values)
            yield node.lineno, "".join(part if isinstance(part, str) else "…" for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def found(path: Path) -> Iterator[str]:
    """A line for every form in a file: where it is, and what to write instead."""
    for start, text in passages(path):
        for pattern, instead in PATTERNS:
            for match in pattern.finditer(text):
                line = start if path.suffix != ".md" else text.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: “{match[0].strip()}”: write “{instead}”"


def ours() -> list[Path]:
    """The files to check: documents, English lessons, views' catalogues, Python outside tests."""
    names = subprocess.run(
        ["git", "ls-files", "*.md", "*.ipynb", "*.py", "transformer_lab/*/messages.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    skipped = ("tests/", "notebooks/de/", "typings/", "data/")
    left_out = {"CONTRIBUTING.md", "docs/check_prose.py"}  # they quote the forms
    left_out |= {"transformer_lab/datasets/everyday_words.py"}  # the words of a dataset
    return [ROOT / name for name in names if not name.startswith(skipped) and name not in left_out]


def main() -> None:
    lines = [line for path in map(Path, sys.argv[1:]) for line in found(path)]
    if len(sys.argv) == 1:
        lines = [line.replace(f"{ROOT}/", "") for path in ours() for line in found(path)]
    print(*lines, sep="\n", end="\n" if lines else "")
    if lines:
        raise SystemExit(f"{len(lines)} forms that CONTRIBUTING.md (Words) asks to write otherwise")


if __name__ == "__main__":
    main()
