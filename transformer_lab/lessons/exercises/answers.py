"""Save the learner's answers that passed their checks, in one file, for lessons that build on
them."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformer_lab.files.paths import FileError
from transformer_lab.files.resources import runs_folder
from transformer_lab.files.safefiles import committed, read_json, write_json


def save_answer(name: str, written: Callable[..., Any]) -> str:
    """Save the source of an answer that passed; return "", or a sentence saying why it was not
    saved."""
    source = _source_of(written)
    if not source:
        return ""  # typed at a prompt, for instance: later lessons use the reference
    answers, note = read_answers()
    if note or answers.get(name) == source:
        return note
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with committed(file) as temporary:
            write_json(temporary, {"version": 1, "answers": answers | {name: source}})
    except OSError as error:
        return f"Your answer was not saved to {file}: {error.strerror or error}."
    return ""


def _file() -> Path:
    return runs_folder() / "answers.json"


def read_answers() -> tuple[dict[str, str], str]:
    """The saved answers, and a sentence if their file could not be used."""
    file = _file()
    if not file.exists():
        return {}, ""
    try:
        answers = read_json(file)["answers"]
        return {str(name): str(source) for name, source in answers.items()}, ""
    except (FileError, KeyError, AttributeError):
        return (
            {},
            f"{file} is not a file of answers. Delete or rename it so that they can be saved.",
        )


def _source_of(written: Callable[..., Any]) -> str:
    """The imports and definitions of the cell that a function or class was written in; "" if it was
    not written in a cell."""
    parts = vars(written).values() if isinstance(written, type) else [written]
    files = {part.__code__.co_filename for part in parts if hasattr(part, "__code__")}
    cell = next((file for file in files if not Path(file).exists()), "")
    try:
        tree = ast.parse("".join(linecache.getlines(cell)))
    except (SyntaxError, ValueError):  # a cell with magics
        return ""
    kept = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
    ]
    if written.__name__ not in {getattr(node, "name", None) for node in kept}:
        return ""
    for node in kept:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = [
                d for d in node.decorator_list if "exercise(" not in ast.unparse(d)
            ]
    return "\n\n".join(map(ast.unparse, kept)) + "\n"
