"""Paths that users pass: whether they can be used, and how a message shows them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..arguments import check, shown

_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r"})


def in_line(text: object) -> str:
    """Return a text, such as a path, with its line breaks escaped."""
    return str(text).translate(_BREAKS)


def as_path(path: object, name: str = "path") -> Path:
    """Return what was passed as a path.

    Raises:
        ValueError: for anything but a text or a path.
    """
    return Path(check(name, path, str | os.PathLike))


class OneLine(Exception):
    """An error whose message is one line, even where it quotes a path with a line break."""

    def __str__(self) -> str:
        return in_line(super().__str__())


class FileError(OneLine, ValueError):
    """A file that cannot be used as it is: damaged, incomplete, of another kind, or too large."""

    @classmethod
    def at(cls, path: str | os.PathLike, message: str, line: int | None = None) -> FileError:
        """An error whose message begins with the file and the line."""
        name = str(path) if len(str(path)) < 400 else f"{str(path)[:200]}…"
        return cls(f"{name}{'' if line is None else f', line {line}'}: {message}")


def check_folder(name: str, path: str | os.PathLike) -> Path:
    """Return the path of a folder that exists or can be created.

    Raises:
        ValueError: if something is in the way; the message names it.
    """
    folder = as_path(path, name).expanduser()
    problem = "the path is empty" if not str(path).strip() else _in_the_way(folder)
    if problem:
        raise ValueError(
            f"{name}={shown(str(path))} cannot be a folder: {problem}; name another folder"
        )
    return folder


def _in_the_way(folder: Path) -> str:
    for part in (folder, *folder.parents):
        try:
            is_folder = stat.S_ISDIR(os.stat(part).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.islink(part):
                continue  # a parent says more
            return f"{str(part)!r} is a broken link"
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            return why[:1].lower() + why[1:]
        return "" if is_folder else f"{str(part)!r} is a file"
    return ""
