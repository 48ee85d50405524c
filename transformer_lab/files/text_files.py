"""Write files that a user names, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .paths import as_path, in_line
from .safefiles import DiskFullError, NotReplacedError, check_replaceable, committed


def write_text(path: str | os.PathLike, pieces: Iterable[str], *, such_as: str) -> Path:
    """Write a text in UTF-8; see `write_bytes`."""
    return write_bytes(path, (p.encode("utf-8", "replace") for p in pieces), such_as=such_as)


def write_bytes(path: str | os.PathLike, pieces: Iterable[bytes], *, such_as: str) -> Path:
    """Write a file, whole or not at all.

    Args:
        such_as: an example of a file name, for the message if the path is a folder.

    Raises:
        ValueError: if the folder does not exist or cannot be written to, or the path is a folder.
        NotReplacedError: if the path is a link, a pipe or a device.
        DiskFullError: if the disk is full; an existing file is untouched.
    """
    path = as_path(path)
    if "\0" in str(path):
        raise _unwritable(path, "the path contains a null byte")
    if path.is_dir():
        raise ValueError(f"path={str(path)!r} is a folder; name a file such as {such_as}")
    if not path.parent.is_dir():
        raise ValueError(f"path={str(path)!r}: {_no_folder(path.parent, repr(str(path.parent)))}")
    try:
        with committed(path) as part, open(part, "wb") as file:
            for piece in pieces:
                file.write(piece)
    except (DiskFullError, NotReplacedError):
        raise
    except OSError as error:
        raise _unwritable(path, error.strerror or error) from error
    return path


def _no_folder(path: Path, shown: str) -> str:
    return (
        f"{shown} is a file, not a folder"
        if path.exists()
        else f"the folder {shown} does not exist"
    )


def check_writable(option: str, path: Path, such_as: str) -> None:
    """Check the path of a command's option now, rather than after minutes of computing.

    Raises:
        ValueError: if no file can be written there.
        NotReplacedError: if the path is a link, a pipe or a device.
    """
    if not path.parent.is_dir():
        raise ValueError(
            f"{option} {in_line(path)}: {_no_folder(path.parent, in_line(path.parent))}"
        )
    if path.is_dir():
        raise ValueError(f"{option} {in_line(path)} is a folder; name a file such as {such_as}")
    try:
        check_replaceable(path)
    except NotReplacedError as error:
        raise NotReplacedError(f"{option} {error}") from None
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise ValueError(
            f"{option} {in_line(path)}: its folder cannot be written to ({error.strerror}); "
            "name a file in a folder of your own"
        ) from error


def _unwritable(path: Path, why: object) -> ValueError:
    return ValueError(
        f"path={str(path)!r} cannot be written ({why}); name a file in a folder of your own"
    )
