"""Text files, read strictly: whatever is wrong with one is said in one line, with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_LINE = 100_000

_UTF8_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {  # the longer ones first: UTF-32's begins with UTF-16's
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


class DataError(ValueError):
    """Data that cannot be used. The message names the file, the line, what is wrong, the remedy."""

    def __init__(self, path: str | Path, message: str, line: int | None = None):
        super().__init__(f"{path}{'' if line is None else f', line {line}'}: {message}")
        self.path, self.line = path, line


def read_text(path: str | Path, *, max_line: int | None = MAX_LINE) -> str:
    """The text of a UTF-8 file, without its byte order mark, with ``\\r\\n`` as ``\\n``.

    Args:
        path: the file.
        max_line: longest line allowed, in characters; None for no limit.

    Raises:
        DataError: no such file, empty, another encoding (with the byte offset), NUL bytes, or a
            line that is too long.
    """
    text = decode_text(_read_bytes(Path(path)), path)
    if max_line is not None and len(text) > max_line:
        for number, line in enumerate(text.split("\n"), 1):
            check_length(path, number, line, max_line)
    return text


def read_lines(path: str | Path, *, max_line: int | None = MAX_LINE) -> list[str]:
    """The lines of a UTF-8 file, split at ``\\n`` only; a final newline ends the last line."""
    return read_text(path, max_line=max_line).removesuffix("\n").split("\n")


def decode_text(data: bytes, path: str | Path) -> str:
    """Strict UTF-8 to text; `path` is for the message only. See `read_text`."""
    for bom, name in _OTHER_BOMS.items():
        if data.startswith(bom):
            raise DataError(path, f"is {name}; save it as UTF-8 ({_iconv(name, path)})")
    data = data.removeprefix(_UTF8_BOM)
    zero = data.find(b"\0")
    if zero >= 0:
        hint = "it may be UTF-16 or a binary file; a text file in UTF-8 is needed"
        raise DataError(path, f"holds a NUL byte at offset {zero}; {hint}", _line_at(data, zero))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start
        raise DataError(
            path,
            f"byte 0x{data[at]:02x} at offset {at} is not UTF-8; "
            f"if the file is Latin-1, {_iconv('LATIN1', path)}",
            _line_at(data, at),
        ) from None
    if not text.strip():
        raise DataError(path, "is empty; it needs at least one line of text")
    return text.replace("\r\n", "\n")


def check_length(path: str | Path, number: int, line: str, max_line: int | None) -> None:
    """Refuse a line of more than `max_line` characters."""
    if max_line is not None and len(line) > max_line:
        raise DataError(
            path,
            f"has {len(line):,} characters, more than {max_line:,}; "
            "break it up, or pass a larger max_line",
            number,
        )


def read_table(
    path: str | Path, columns: tuple[str, ...], *, max_line: int | None = MAX_LINE
) -> list[tuple[str, ...]]:
    """Rows of a tab-separated file without a header, every cell filled.

    Quotes mean nothing, as in most corpora: a tab is a tab, a newline a newline.

    Raises:
        DataError: see `read_text`; or a line with another number of columns, or an empty cell.
    """
    rows = []
    for number, line in enumerate(read_lines(path, max_line=max_line), 1):
        cells = tuple(cell.strip() for cell in line.split("\t"))
        if len(cells) != len(columns):
            raise DataError(
                path,
                f"has {len(cells)} column{'s' * (len(cells) != 1)}, not {len(columns)}; "
                f"write {' <tab> '.join(columns)} on every line",
                number,
            )
        for name, cell in zip(columns, cells, strict=True):
            if not cell:
                raise DataError(path, f"the {name} is empty; fill it or drop the line", number)
        rows.append(cells)
    return rows


def read_records(
    path: str | Path, fields: tuple[str, ...], *, max_line: int | None = MAX_LINE
) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file, each with the given fields as non-empty strings.

    Raises:
        DataError: see `read_text`; or a line that is no JSON object, lacks a field, or holds one
            that is not a usable string.
    """
    records = []
    for number, line in enumerate(read_lines(path, max_line=max_line), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", type(error).__name__)
            raise DataError(path, f"is not JSON ({reason}); {_example(fields)}", number) from None
        if not isinstance(record, dict):
            raise DataError(path, f"is not a JSON object; {_example(fields)}", number)
        for name in fields:
            problem = _field_problem(record.get(name))
            if problem:
                raise DataError(path, f"{name!r} {problem}; {_example(fields)}", number)
        records.append(record)
    return records


def _field_problem(value: object) -> str | None:
    if value is None:
        return "is missing"
    if not isinstance(value, str):
        return f"is {type(value).__name__}, not a string"
    if not value.strip():
        return "is empty"
    if "\0" in value:
        return "holds a NUL character"
    if any("\ud800" <= c <= "\udfff" for c in value):
        return "holds half a surrogate pair (\\ud800 … \\udfff)"
    return None


def _example(fields: tuple[str, ...]) -> str:
    return "each line must be like " + json.dumps(dict.fromkeys(fields, "…"), ensure_ascii=False)


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise DataError(path, "is a folder; name a file in it")
    if not path.exists():
        raise DataError(path, "no such file; check the spelling and the current folder")
    if not path.is_file():
        raise DataError(path, "is not a regular file; copy its content into one")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _iconv(encoding: str, path: str | Path) -> str:
    return f"convert it with: iconv -f {encoding} -t UTF-8 {path} > utf8.txt"
