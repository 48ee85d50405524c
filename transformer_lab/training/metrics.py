"""metrics.jsonl: one line per step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..arguments import shown, type_hints, wrong
from ..files import json_lines
from .state import Step

METRICS = "metrics.jsonl"


class MetricsFile(json_lines.LinesFile):
    """The file, opened for appending."""

    def append(self, *steps: Mapping[str, Any]) -> None:
        """Append one line per step; null for what is not finite."""
        super().append(*({k: _finite(v) for k, v in step.items()} for step in steps))


def whole_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Complete lines of a metrics file: where each ends, and its contents."""
    return json_lines.whole_lines(path, _why_not)


def _why_not(line: Mapping[str, Any]) -> str:
    """Why a line is not a `Step`, or ""; null stands for what is not finite."""
    for name, hint in type_hints(Step).items():
        value = line.get(name)
        if value is None:
            if name == "index" or (name == "loss" and name not in line):
                return f"has no {name}"
        elif must_be := wrong(value, hint):
            return f"has {name}={shown(value)}, which must be {must_be}"
    return ""


def cut(path: Path, done: int) -> None:
    """Drop what was logged after step `done`, and a line that a kill cut short."""
    kept = takewhile(lambda found: found[1]["index"] <= done, whole_lines(path))
    json_lines.cut_to(path, [end for end, _ in kept])


def _finite(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else None
