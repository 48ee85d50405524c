"""Read text files strictly: an error says in one line what is wrong and where."""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from ..files.paths import FileError, as_path
from ..files.safefiles import open_regular

MAX_LINE = 100_000
MAX_SIZE = 1 << 30  # bytes of text; more takes tens of GiB as tokens
MAX_UNPACKED = 64 << 20  # for a packed file, whose own size says nothing

_BLOCK = 1 << 20

_UTF8_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {  # the longer ones first: UTF-32's begins with UTF-16's
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def read_text(path: str | Path, *, max_line: int | None = MAX_LINE, packed: bool = False) -> str:
    """Return the text of a UTF-8 file, without its byte order mark, with ``\\r\\n`` as ``\\n``.

    The file is read block by block and refused at the first unfit one, so that neither an endless
    line nor a small file that unpacks to a large one fills the memory.

    Args:
        path: the file.
        max_line: longest line allowed, in characters; None for no limit.
        packed: whether the file is a gzip of the text.

    Raises:
        FileError: no such file, empty, another encoding (with the byte offset), NUL bytes, a line
            that is too long, a text of more than 1 GiB (64 MiB if it was packed), or a damaged
            gzip file.
    """
    path = as_path(path)
    with _open(path) as file:
        if not packed:
            data = _fit_bytes(file, path, max_line, MAX_SIZE)
        else:
            try:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    data = _fit_bytes(unpacked, path, max_line, MAX_UNPACKED)
            except (OSError, EOFError, zlib.error) as error:
                raise FileError.at(
                    path, f"is not a complete gzip file ({error}); download it again"
                ) from error
    text = _decoded(data, path)
    if max_line is not None and len(text) > max_line:
        for number, line in enumerate(text.split("\n"), 1):
            check_length(path, number, line, max_line)
    return text


def read_lines(path: str | Path, *, max_line: int | None = MAX_LINE) -> list[str]:
    """The lines of a UTF-8 file, split at ``\\n`` only; a final newline ends the last line."""
    return read_text(path, max_line=max_line).removesuffix("\n").split("\n")


def _decoded(data: bytes, path: Path) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start
        raise FileError.at(
            path,
            f"byte 0x{data[at]:02x} at offset {at} is not UTF-8; "
            f"if the file is Latin-1, {_iconv('LATIN1', path)}",
            _line_at(data, at),
        ) from None
    if not text.strip():
        raise FileError.at(path, "is empty; it needs at least one line of text")
    return text.replace("\r\n", "\n")


def check_length(path: str | Path, number: int, line: str, max_line: int | None) -> None:
    """Refuse a line of more than `max_line` characters."""
    if max_line is not None and len(line) > max_line:
        raise _too_long(path, number, f"{len(line):,} characters, more than {max_line:,}")


def read_table(
    path: str | Path, columns: tuple[str, ...], *, max_line: int | None = MAX_LINE
) -> list[tuple[str, ...]]:
    """Rows of a tab-separated file without a header, every cell filled.

    Quotes have no meaning, as in most corpora: a tab is a tab, a newline a newline.

    Raises:
        FileError: see `read_text`; or a line with another number of columns, or an empty cell.
    """
    rows = []
    for number, line in enumerate(read_lines(path, max_line=max_line), 1):
        cells = tuple(cell.strip() for cell in line.split("\t"))
        if len(cells) != len(columns):
            raise FileError.at(
                path,
                f"has {len(cells)} column{'s' * (len(cells) != 1)}, not {len(columns)}; "
                f"write {' <tab> '.join(columns)} on every line",
                number,
            )
        for name, cell in zip(columns, cells, strict=True):
            if not cell:
                raise FileError.at(
                    path, f"the {name} is empty; fill it in, or delete the line", number
                )
        rows.append(cells)
    return rows


def read_records(
    path: str | Path, fields: tuple[str, ...], *, max_line: int | None = MAX_LINE
) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file, each with the given fields as non-empty strings.

    Raises:
        FileError: see `read_text`; or a line that is not a JSON object, lacks a field, or holds one
            that is not a usable string.
    """
    records = []
    for number, line in enumerate(read_lines(path, max_line=max_line), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", type(error).__name__)
            raise FileError.at(
                path, f"is not JSON ({reason}); {_example(fields)}", number
            ) from None
        if not isinstance(record, dict):
            raise FileError.at(path, f"is not a JSON object; {_example(fields)}", number)
        for name in fields:
            problem = _field_problem(record.get(name))
            if problem:
                raise FileError.at(path, f"{name!r} {problem}; {_example(fields)}", number)
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


def _open(path: Path) -> BinaryIO:
    if os.path.isdir(path):
        raise FileError.at(path, "is a folder; name a file in it")
    if not os.path.exists(path):
        raise FileError.at(path, "no such file; check the spelling and the current folder")
    return open_regular(path, error=lambda said: FileError.at(path, said.removeprefix(f"{path} ")))


def _fit_bytes(
    file: BinaryIO | gzip.GzipFile, path: Path, max_line: int | None, most: int
) -> bytes:
    """Read all bytes of a file; refuse what is unfit for a text, see `read_text`."""
    kept = io.BytesIO()
    line, length = 1, 0  # the number of the last line read so far, and its bytes
    while block := file.read(_BLOCK):
        if not kept.tell():
            _check_mark(block, path)
            block = block.removeprefix(_UTF8_BOM)
        zero = block.find(b"\0")
        if zero >= 0:
            raise _nul(path, kept.tell() + zero, line + block.count(b"\n", 0, zero))
        for number, part in enumerate(block.split(b"\n")):
            length = len(part) if number else length + len(part)
            if max_line is not None and length > 4 * max_line:  # UTF-8 has at most 4 per character
                raise _too_long(path, line + number, f"more than {max_line:,} characters")
        line += block.count(b"\n")
        kept.write(block)
        if kept.tell() > most:
            raise FileError.at(path, f"has more than {most >> 20:,} MiB of text; use a part of it")
    return kept.getvalue()


def _check_mark(data: bytes, path: str | Path) -> None:
    for bom, name in _OTHER_BOMS.items():
        if data.startswith(bom):
            raise FileError.at(
                path, f"is encoded as {name}; save it as UTF-8 ({_iconv(name, path)})"
            )


def _nul(path: str | Path, offset: int, line: int) -> FileError:
    hint = "it may be UTF-16 or a binary file; a text file in UTF-8 is needed"
    return FileError.at(path, f"holds a NUL byte at offset {offset}; {hint}", line)


def _too_long(path: str | Path, number: int, count: str) -> FileError:
    return FileError.at(path, f"has {count}; split it, or pass a larger max_line", number)


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _iconv(encoding: str, path: str | Path) -> str:
    return f"convert it with: iconv -f {encoding} -t UTF-8 {path} > utf8.txt"
