"""Files of JSON, one line per result; nothing is read after a line that was cut short."""

from __future__ import annotations

import errno
import itertools
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .paths import FileError, in_line
from .safefiles import disk_errors, open_regular, open_without_link, parse_json

MAX_LINE = 1 << 16


class LinesFile:
    """The file, opened for appending."""

    def __init__(self, path: Path):
        self.path = path
        self.file = open(open_without_link(path, os.O_WRONLY | os.O_APPEND), "ab", 0)  # noqa: SIM115

    def append(self, *lines: Mapping[str, Any]) -> None:
        """Append lines in one write.

        Raises:
            DiskFullError: if the disk is full; what was written before is kept.
        """
        data = b"".join(json.dumps(line, allow_nan=False).encode() + b"\n" for line in lines)
        with disk_errors(self.path):
            if self.file.write(data) != len(data):
                raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        self.file.close()


def whole_lines(
    path: Path, why_not: Callable[[Mapping[str, Any]], str], *, longest: int = MAX_LINE
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Complete lines: where each ends, and its contents. What follows a damaged line is not trusted
    either, and a warning says so; a last line that a kill cut short is left out silently.

    Args:
        why_not: says why a JSON object is not a line of this file; "" if it is one.
        longest: bytes of a line, at most.
    """
    end = 0
    if not os.path.lexists(path):
        return
    with open_regular(path) as file:
        for number in itertools.count(1):
            raw = file.readline(longest)
            if not raw.endswith(b"\n") and len(raw) < longest:
                return
            end += len(raw)
            try:
                line = parse_json(raw, "it")
                problem = why_not(line)
            except FileError as error:
                line, problem = {}, f"is damaged: {error}"
            if problem:
                text = (
                    f"{in_line(path)}, line {number} {problem}; it and all later lines are skipped"
                )
                warnings.warn(text, stacklevel=3)
                return
            yield end, line


def cut_to(path: Path, ends: Sequence[int]) -> None:
    """Drop what follows the last of these ends, such as a line that a kill cut short."""
    keep = max(ends, default=0)
    if os.path.lexists(path) and keep != path.stat().st_size:
        with open(open_without_link(path, os.O_WRONLY), "ab", 0) as file:
            file.truncate(keep)
