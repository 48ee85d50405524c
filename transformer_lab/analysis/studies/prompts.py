"""Prompts of a study: from a file, one per line, or from a list."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from ...arguments import shown
from ...datasets.reading import read_lines, read_records
from ...files.paths import FileError

ENDS = (".txt", ".jsonl", ".csv", ".tsv")


@dataclass(frozen=True)
class Prompt:
    """One text, or two that differ.

    clean, corrupted: texts, or token ids. target: the output of an encoder-decoder.
    answer, wrong: tokens whose logits are compared: ids, or texts of one token.
    line: its number in the file, from 1.
    """

    clean: str | tuple[int, ...]
    corrupted: str | tuple[int, ...] | None = None
    answer: str | int | None = None
    wrong: str | int | None = None
    target: str | None = None
    line: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set, without the line."""
        return {k: v for k, v in asdict(self).items() if v is not None and k != "line"}


NAMES = tuple(one.name for one in fields(Prompt) if one.name != "line")
_OF_FILES = f"columns are {', '.join(NAMES)}"


def prompts_of(given: Any) -> list[Prompt]:
    """Return the prompts that an argument of `tl.study` means.

    Raises:
        FileError: for a file that cannot be read, naming the line.
        ValueError: for an item of a list that is not a prompt, naming which.
    """
    if isinstance(given, str | os.PathLike):
        return _of_file(Path(given).expanduser())
    if not isinstance(given, Iterable) or isinstance(given, Mapping):
        raise ValueError(
            f"prompts={shown(given)} is not a list; give a list of texts, or the path of a file"
        )
    found = [_of_item(i, one) for i, one in enumerate(given)]
    if not found:
        raise ValueError("prompts is empty; give at least one text")
    return found


def _of_item(i: int, given: Any) -> Prompt:
    if isinstance(given, Prompt):
        return given
    values = dict(given) if isinstance(given, Mapping) else {"clean": given}
    wrong = _wrong(values)
    if wrong:
        raise ValueError(f"prompts[{i}] {wrong}")
    for name in ("clean", "corrupted"):
        if (ids := _ids(values.get(name))) is not None:
            values[name] = ids
    return Prompt(**values)


def _of_file(path: Path) -> list[Prompt]:
    end = path.suffix.lower()
    if end not in ENDS:
        raise FileError.at(
            path, f"ends in {end!r}; prompts must be in a file ending in {', '.join(ENDS)}"
        )
    if end == ".txt":
        return [
            Prompt(line, line=number)
            for number, line in enumerate(read_lines(path), 1)
            if line.strip()
        ]
    if end == ".jsonl":
        rows = list(enumerate(read_records(path, ("clean",)), 1))
    else:
        rows = list(_of_table(path, "," if end == ".csv" else "\t"))
    found = []
    for number, row in rows:
        wrong = _wrong(row)
        if wrong:
            raise FileError.at(path, wrong, number)
        found.append(Prompt(**row, line=number))
    return found


def _of_table(path: Path, delimiter: str) -> Iterable[tuple[int, dict[str, Any]]]:
    """Yield (line, row) of a file with a header. Empty cells are left out."""
    reader = csv.reader(
        (f"{line}\n" for line in read_lines(path)), delimiter=delimiter, strict=True
    )
    head: list[str] = []
    number = 1
    try:
        for cells in reader:
            if not head:
                head = [cell.strip() for cell in cells]
                if "clean" not in head or len(set(head)) != len(head):
                    raise FileError.at(
                        path, f"must have a column 'clean', and no column twice; {_OF_FILES}", 1
                    )
            elif cells:
                if len(cells) != len(head):
                    raise FileError.at(path, f"has {len(cells)} cells, not {len(head)}", number)
                yield number, {k: v for k, v in zip(head, cells, strict=True) if v}
            number = reader.line_num + 1
    except csv.Error as error:
        raise FileError.at(path, f"is not a line of a table ({error})", number) from None


def _wrong(values: Mapping[str, Any]) -> str:
    """Return why these do not make a prompt, or ""."""
    unknown = [name for name in values if name not in NAMES]
    if unknown:
        return f"has {shown(unknown[0])}, which is not a known column; {_OF_FILES}"
    for name in NAMES:
        value = values.get(name)
        if value is None:
            if name == "clean":
                return "has no 'clean', which is the text"
        elif isinstance(value, str):
            if not value.strip():
                return f"has an empty {name!r}"
        elif name == "target" or (name in ("clean", "corrupted") and _ids(value) is None):
            return f"has {name}={shown(value)}, which is not a text"
        elif name in ("answer", "wrong") and type(value) is not int:
            return f"has {name}={shown(value)}, which is not a token: give its text or its id"
    if values.get("wrong") is not None and values.get("answer") is None:
        return "has 'wrong' but no 'answer' to compare it with"
    return ""


def _ids(value: Any) -> tuple[int, ...] | None:
    """Return token ids, or None for anything else."""
    if isinstance(value, Tensor) and value.dim() == 1 and not value.is_floating_point():
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        return None
    return tuple(value) if all(type(one) is int for one in value) else None
