"""The folder of a study: what is measured, and the results so far, one line per prompt."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...files.json_lines import LinesFile, cut_to, whole_lines
from ...files.lock import Lock
from ...files.paths import FileError, in_line
from ...files.safefiles import NotReplacedError, committed, disk_errors, read_json, write_json
from .questions import Grid

MARK, FORMAT = "transformer_lab_study", 1
ABOUT, PART = "study.json", "part-{:05}.jsonl"
LONGEST = 64 << 20  # bytes of a line
_SAME = {"model": "another model", "asked": "another question", "prompts": "other prompts"}


class StudyFolder:
    """A study's folder, open for one process.

    Args:
        about: what is measured, as JSON: the names in `_SAME`, and the versions.
        rank: of this process, which writes its own part.

    Attributes:
        found: prompt -> name -> its values; grids: name -> `Grid`; both as read from the folder.

    Raises:
        NotReplacedError: for a folder that holds something else.
        ValueError: for another study, naming what differs.
        LockedError: if another process writes there.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], rank: int):
        self.folder = folder
        self.found: dict[int, dict[str, Tensor]] = {}
        self.grids: dict[str, Grid] = {}
        with disk_errors(folder):
            _check(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self.lock = Lock(folder / PART.format(rank).replace(".jsonl", ".lock"))
            try:
                self._agree(about)
                own = folder / PART.format(rank)
                cut_to(own, [end for end, _ in whole_lines(own, _any, longest=LONGEST)])
                self.lines = LinesFile(own)
            except BaseException:
                self.lock.release()
                raise

    def read(self) -> None:
        """Read the results of all processes."""
        for path in sorted(self.folder.glob("part-*.jsonl")):
            for _, line in whole_lines(path, _any, longest=LONGEST):
                if "grids" in line:
                    self.grids |= {
                        n: Grid(tuple(g["axes"]), g["labels"], g["unit"])
                        for n, g in line["grids"].items()
                    }
                elif {"prompt", "values"} <= set(line):
                    self.found[line["prompt"]] = {
                        n: torch.from_numpy(np.array(v, dtype=np.float32))
                        for n, v in line["values"].items()
                    }

    def append(self, found: Mapping[int, Mapping[str, Tensor]], grids: Mapping[str, Grid]) -> None:
        """Save the results of some prompts.

        Raises:
            DiskFullError: if the disk is full; what was written before is kept.
        """
        from ...views.shared.exports import listed

        new = {n: g for n, g in grids.items() if n not in self.grids}
        first = [{"grids": {n: vars(g) for n, g in new.items()}}] if new else []
        self.lines.append(
            *first,
            *(
                {"prompt": i, "values": {n: listed(v.float().numpy()) for n, v in values.items()}}
                for i, values in found.items()
            ),
        )
        self.grids |= new

    def close(self) -> None:
        self.lines.close()
        self.lock.release()

    def _agree(self, about: Mapping[str, Any]) -> None:
        path, plain = self.folder / ABOUT, json.loads(json.dumps(dict(about)))
        if not os.path.lexists(path):
            with committed(path) as part:
                write_json(part, {MARK: FORMAT, **plain})
            return
        known = read_json(path)
        if known.get(MARK) != FORMAT:
            raise ValueError(
                f"{in_line(path)} has format {known.get(MARK)!r}, but this package reads {FORMAT}; use a "
                "newer package, or another folder"
            )
        for name, what in _SAME.items():
            if known.get(name) != plain[name]:
                raise ValueError(
                    f"out={str(self.folder)!r} holds a study of {what} "
                    f"({_differing(known.get(name), plain[name])}); use another folder"
                )
        if known.get("versions") != plain["versions"]:
            warnings.warn(
                f"{self.folder} was started with other versions "
                f"({_differing(known.get('versions'), plain['versions'])}); their numbers may differ in "
                "the last digits",
                stacklevel=4,
            )


def _any(line: Mapping[str, Any]) -> str:
    return ""


def _differing(before: Any, now: Any) -> str:
    """Where two tables differ, in words."""
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return f"{before} then, {now} now"
    names = [n for n in {**before, **now} if before.get(n) != now.get(n)]
    return "; ".join(f"{n}: {before.get(n)} then, {now.get(n)} now" for n in names)


def _check(folder: Path) -> None:
    """Check that a folder holds nothing but a study."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise NotReplacedError(f"out={str(folder)!r} is not a folder; name a new one")
    if not folder.is_dir() or os.path.lexists(folder / ABOUT):
        with suppress(FileError):
            if not folder.is_dir() or MARK in read_json(folder / ABOUT):
                return
        raise NotReplacedError(
            f"{folder / ABOUT} is damaged or not from a study; use another folder"
        )
    there = sorted(one.name for one in folder.iterdir() if not one.name.startswith((".", "part-")))
    if there:
        raise NotReplacedError(
            f"out={str(folder)!r} has files that are not from a study ({', '.join(there[:3])}); use "
            "another folder"
        )
