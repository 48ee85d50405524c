"""Files of JSON, a line a result, and nothing after a line that was cut short."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .safefiles import CheckpointError, disk_errors, open_regular, open_without_link, parse_json

MAX_LINE = 1 << 16


class LinesFile:
    """The file, opened for appending."""

    def __init__(self, path: Path):
        self.path = path
        self.file = open(open_without_link(path, os.O_WRONLY | os.O_APPEND), "ab", 0)  # noqa: SIM115

    def append(self, *lines: Mapping[str, Any]) -> None:
        """These lines, in one write.

        Raises:
            DiskFullError: when the disk is full; what was written before is kept.
        """
        data = b"".join(json.dumps(line, allow_nan=False).encode() + b"\n" for line in lines)
        with disk_errors(self.path):
            if self.file.write(data) != len(data):
                raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        self.file.close()


def whole_lines(
    path: Path, keys: Mapping[str, type], *, longest: int = MAX_LINE
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Whole lines: where each ends, and what it says. What follows a torn line is not trusted either.

    Args:
        keys: what a whole line has, of which type.
        longest: bytes of a line.
    """
    end = 0
    if not os.path.lexists(path):
        return
    with open_regular(path) as file:
        while raw := file.readline(longest):
            end += len(raw)
            try:
                line = parse_json(raw, str(path)) if raw.endswith(b"\n") else None
            except CheckpointError:
                line = None
            if line is None or any(type(line.get(key)) is not kind for key, kind in keys.items()):
                return
            yield end, line


def cut_to(path: Path, ends: Sequence[int]) -> None:
    """Drop what stands after the last of these ends, such as a line that a kill cut short."""
    keep = max(ends, default=0)
    if os.path.lexists(path) and keep != path.stat().st_size:
        with open(open_without_link(path, os.O_WRONLY), "ab", 0) as file:
            file.truncate(keep)
