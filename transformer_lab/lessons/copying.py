"""Copy the lessons to a folder of the learner's own, without overwriting changed files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..files.paths import FileError, as_path
from ..files.resources import resource
from ..files.safefiles import (
    DiskFullError,
    NotReplacedError,
    committed,
    read_json,
    sha256,
    write_json,
)
from .listing import LESSON, TRANSLATED

# The files of notebooks/ that a learner needs.
PATTERNS = (LESSON, TRANSLATED, "README.md", "glossary.md", "images/*.svg")
# Holds the sha256 of every file when copied: a file that differs was changed.
MANIFEST = ".transformer-lab-lessons.json"


@dataclass(frozen=True)
class Copies:
    """How a folder's files compare with the package's; names such as "images/02_positions.svg".

    Every file of the package is in one of the first four."""

    folder: Path
    missing: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)  # unchanged; the package's has changed
    yours: list[str] = field(default_factory=list)  # changed since, or never copied
    newer: list[str] = field(default_factory=list)  # `yours` that the package changed too
    digests: dict[str, str] = field(default_factory=dict)  # when copied
    note: str = ""
    solutions: bool = True  # whether the notebooks contain them


def package_files() -> dict[str, Path]:
    """name -> path, for every file that is copied."""
    source = resource("notebooks")
    found = sorted(path for pattern in PATTERNS for path in source.glob(pattern))
    return {path.relative_to(source).as_posix(): path for path in found}


def package_bytes(solutions: bool = True) -> dict[str, bytes]:
    """name -> content, for every file that is copied; without solutions, the cells that show one
    are removed."""
    return {
        name: path.read_bytes() if solutions else _without_solutions(path)
        for name, path in package_files().items()
    }


def is_solution(text: str) -> bool:
    """Whether a cell's text shows the solution of an exercise."""
    return "<summary><b>Solution" in text or "<summary><b>Lösung" in text


def _without_solutions(path: Path) -> bytes:
    if path.suffix != ".ipynb":
        return path.read_bytes()
    notebook = json.loads(path.read_text("utf-8"))
    cells = [cell for cell in notebook["cells"] if not is_solution("".join(cell["source"]))]
    text = json.dumps(notebook | {"cells": cells}, ensure_ascii=False, indent=1)
    return f"{text}\n".encode()


def compare(folder: str | Path, *, solutions: bool | None = None) -> Copies:
    """Compare a folder's files with the package's. Writes nothing.

    Args:
        solutions: whether the notebooks contain them; by default as in the folder, and True for a
            new one.

    Raises:
        FileError: for a folder that is a file or a link, holds other files, or was made with the
            other choice.
    """
    folder = as_path(folder, "folder")
    _is_a_place(folder)
    known, has, note = _read_manifest(folder)
    if solutions is not None and has is not None and solutions != has:
        raise FileError(
            f"{folder} has the lessons {'with' if has else 'without'} solutions; name another folder"
        )
    has = solutions is not False if has is None else has
    copies = Copies(folder, digests=known, note=note, solutions=has)
    for name, content in package_bytes(has).items():
        path, wanted = folder / name, hashlib.sha256(content).hexdigest()
        if not path.exists() and not path.is_symlink():
            copies.missing.append(name)
            continue
        found = _digest(path)
        if found == wanted:
            copies.same.append(name)
        elif found is not None and found == known.get(name):
            copies.older.append(name)
        else:
            copies.yours.append(name)
            if known.get(name) != wanted:
                copies.newer.append(name)
    return copies


def copy_lessons(
    folder: str | Path, *, renew: bool = False, solutions: bool | None = None
) -> Copies:
    """Copy missing files; with `renew`, also replace older copies that were not changed.

    Args:
        folder: created if it does not exist. Changed files in it stay as they are.
        solutions: as for `compare`.

    Returns:
        The comparison before copying: `missing` is copied now, and `older` is replaced with
        `renew`.

    Raises:
        FileError: as for `compare`, and if the folder cannot be written.
        DiskFullError: the disk is full; call again to continue.
    """
    copies = compare(folder, solutions=solutions)
    files = package_bytes(copies.solutions)
    wanted = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    names = copies.missing + (copies.older if renew else [])
    digests = dict(copies.digests)
    # Before the first copy, so that an interrupted copy is recognised as one of ours.
    digests.update({n: wanted[n] for n in copies.missing + copies.same})
    with _told(copies.folder):
        copies.folder.mkdir(parents=True, exist_ok=True)
        _write_manifest(copies.folder, digests, copies.solutions)
        for name in names:
            path = copies.folder / name
            path.parent.mkdir(exist_ok=True)
            with committed(path) as temporary:
                temporary.write_bytes(files[name])
            digests[name] = wanted[name]
        _write_manifest(copies.folder, digests, copies.solutions)
    return copies


def _is_a_place(folder: Path) -> None:
    """Refuse a path that is not a folder, is a symbolic link, or holds other files."""
    for path in (folder, *sorted({(folder / name).parent for name in package_files()} - {folder})):
        if path.is_symlink():
            raise FileError(f"{path} is a symbolic link; name a folder without symbolic links")
        if path.exists() and not path.is_dir():
            raise FileError(f"{path} is not a folder; name another one for the lessons")
    manifest = folder / MANIFEST
    if manifest.is_symlink() or (manifest.exists() and not manifest.is_file()):
        raise FileError(f"{manifest} is not an ordinary file; remove it, or name another folder")
    if manifest.exists() or not folder.exists():
        return
    with _told(folder, "read"):
        others = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if others:
        raise FileError(
            f"{folder} has other files ({others[0]}{' …' if others[1:] else ''}) but no copy of "
            "the lessons; name a new folder or an empty one"
        )


def _read_manifest(folder: Path) -> tuple[dict[str, str], bool | None, str]:
    """The sha256 of each file when copied, whether with solutions, and a note if the manifest
    cannot be read."""
    path = folder / MANIFEST
    if not path.exists():
        return {}, None, ""
    try:
        read = read_json(path)
        files = dict(read["files"])
        known = {name: str(files[name]) for name in package_files() if name in files}
        return known, bool(read.get("solutions", True)), ""
    except (FileError, KeyError, TypeError, ValueError):
        note = f"{path} cannot be read, so every file that differs is treated as changed by you."
        return {}, None, note


def _write_manifest(folder: Path, digests: dict[str, str], solutions: bool) -> None:
    about = {"about": "sha256 of each file as it was copied", "solutions": solutions}
    with committed(folder / MANIFEST) as temporary:
        write_json(temporary, about | {"files": digests})


@contextmanager
def _told(folder: Path, what: str = "written to") -> Iterator[None]:
    """Turn an OSError into a FileError with one sentence that names the folder."""
    try:
        yield
    except (DiskFullError, NotReplacedError):
        raise
    except OSError as error:
        raise FileError(
            f"{folder} cannot be {what} ({error.strerror or error}); name a folder of your own"
        ) from error


def _digest(path: Path) -> str | None:
    """The sha256 of a file; None if it is not an ordinary file or cannot be read."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        return sha256(path)
    except OSError:
        return None
