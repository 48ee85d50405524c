"""Checkpoints: one folder per step, sealed, so that a damaged one is noticed before it is used.

step-00000400/    model.safetensors, training.safetensors, config.json, state.json
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .paths import FileError
from .safefiles import read_json, sha256

FORMAT = 1
WEIGHTS = "model.safetensors"
TRAINING = "training.safetensors"
STATE = "state.json"
FOLDER = "checkpoints"  # of a run
_STEP = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,17})")  # as `checkpoint_path` writes it


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint, verified: every file has the size and sha256 that were written."""

    folder: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        return self.state["step"]


def checkpoint_path(run: Path, step: int) -> Path:
    """Path of a step's checkpoint in the folder of a run."""
    return run / FOLDER / f"step-{step:08d}"


def steps_in(folder: Path) -> list[int]:
    """Steps named by the entries of a folder; links are ignored."""
    paths = folder.iterdir() if folder.is_dir() else ()
    names = (path.name.split(".")[0] for path in paths if not path.is_symlink())
    return sorted(int(match[1]) for name in names if (match := _STEP.fullmatch(name)))


def newest(run: Path) -> Checkpoint | None:
    """The newest checkpoint of a run's folder that verifies; each that does not is named in a
    warning."""
    for step in reversed(steps_in(run / FOLDER)):
        try:
            return verify(checkpoint_path(run, step))
        except FileError as error:
            warnings.warn(f"skipping a damaged checkpoint: {error}", stacklevel=2)
    return None


def verify(folder: Path) -> Checkpoint:
    """Return a checkpoint; raise a FileError that names the file if it has changed."""
    state = read_json(folder / STATE)
    seal = state.pop("seal", None)
    if state.get("transformer_lab_checkpoint") != FORMAT:
        version = state.get("transformer_lab_checkpoint")
        raise FileError(
            f"{folder} has checkpoint version {version!r}; this package reads version {FORMAT}"
        )
    if seal != sealed(state)["seal"]:
        raise FileError(f"{folder / STATE} has changed since it was written")
    with as_written(folder):
        if not {WEIGHTS, TRAINING} <= set(state["files"]) or type(state["step"]) is not int:
            raise FileError(f"{folder / STATE} does not list {WEIGHTS} and {TRAINING}")
        for name, expected in state["files"].items():
            path = folder / name
            if Path(name).name != name or not os.path.lexists(path):
                raise FileError(f"{path} is missing")
            if path.stat().st_size != expected["bytes"] or sha256(path) != expected["sha256"]:
                raise FileError(f"{path} has changed since it was written")
    return Checkpoint(folder, state)


def is_whole(checkpoint: Path) -> bool:
    try:
        verify(checkpoint)
    except FileError:
        return False
    return True


@contextmanager
def as_written(folder: Path) -> Iterator[None]:
    """Report contents that our checkpoints cannot hold as damage, wherever they turn up."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise FileError(
            f"{folder / STATE} has changed since it was written ({type(error).__name__}: {error})"
        ) from error


def sealed(state: dict[str, Any]) -> dict[str, Any]:
    """A state with the checksum of its contents, under "seal"."""
    text = json.dumps(state, sort_keys=True, allow_nan=False).encode()
    return {**state, "seal": hashlib.sha256(text).hexdigest()}
