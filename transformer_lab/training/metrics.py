"""metrics.jsonl: one line a step, and nothing after a line that was cut short."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files.safefiles import (
    CheckpointError,
    disk_errors,
    open_regular,
    open_without_link,
    parse_json,
)

METRICS = "metrics.jsonl"
MAX_LINE = 1 << 16


class MetricsFile:
    """The file, opened for appending."""

    def __init__(self, path: Path):
        self.path = path
        self.file = open(open_without_link(path, os.O_WRONLY | os.O_APPEND), "ab", 0)  # noqa: SIM115

    def append(self, step: Mapping[str, Any]) -> None:
        """One line, in one write; null for what is not finite."""
        finite = {k: v if not isinstance(v, float) or math.isfinite(v) else None
                  for k, v in step.items()}  # fmt: skip
        line = (json.dumps(finite) + "\n").encode()
        with disk_errors(self.path):
            if self.file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        self.file.close()


def whole_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Whole lines of a metrics file: where each ends, and what it says."""
    end = 0
    if not os.path.lexists(path):
        return
    with open_regular(path) as file:
        while raw := file.readline(MAX_LINE):
            end += len(raw)
            try:
                line = parse_json(raw, str(path)) if raw.endswith(b"\n") else {}
            except CheckpointError:
                line = {}
            if type(line.get("index")) is not int:
                return  # what follows a torn line is not trusted either
            yield end, line


def cut(path: Path, done: int) -> None:
    """Drop what was logged after step `done`, and a line that a kill cut short."""
    if not os.path.lexists(path):
        return
    keep = 0
    for end, line in whole_lines(path):
        if line["index"] > done:
            break
        keep = end
    if keep != path.stat().st_size:
        with open(open_without_link(path, os.O_WRONLY), "ab", 0) as file:
            file.truncate(keep)
