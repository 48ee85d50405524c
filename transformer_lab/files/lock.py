"""One writer per folder."""

from __future__ import annotations

import json
import os
import socket
import warnings
from pathlib import Path

from .paths import FileError, OneLine
from .safefiles import NotReplacedError, open_without_link, parse_json


class LockedError(OneLine, OSError):
    """Another process writes to this folder."""


class Lock:
    """A file that names the process that writes to a folder. The system releases it when its owner
    dies; the next owner finds the dead one's name in it and reports it.

    Raises:
        LockedError: if the folder has a writer; the message gives host and process id.
        NotReplacedError: if the file is not a lock of ours, or is a link.
    """

    def __init__(self, path: Path):
        self.path = path
        self.handle = self._open()
        try:
            left = _read(self.handle)
        except FileError:
            os.close(self.handle)
            raise NotReplacedError(
                f"{path} was not created by transformer_lab; choose another run folder"
            ) from None
        mine = {"host": socket.gethostname(), "pid": os.getpid()}
        if left and left.get("host") != mine["host"]:
            # The system's lock may not reach across a network file system.
            os.close(self.handle)
            raise LockedError(
                f"{path.parent} is being written by {_name(left)}; if that process has ended, "
                f"delete {path}"
            )
        if left:
            warnings.warn(
                f"{path.parent} was being written by {_name(left)}, which has ended; taking over",
                stacklevel=5,
            )
        os.ftruncate(self.handle, 0)
        os.lseek(self.handle, 0, os.SEEK_SET)
        os.write(self.handle, json.dumps(mine).encode())

    def _open(self) -> int:
        while True:
            handle = open_without_link(self.path, os.O_RDWR)
            if not _take(handle):
                try:
                    left = _read(handle)
                except FileError:
                    left = {}
                os.close(handle)
                raise LockedError(
                    f"{self.path.parent} is being written by {_name(left)}; wait for it to end, "
                    "stop it, or use another folder"
                )
            try:  # its last owner may have removed the file between our opening and locking it
                if os.path.samestat(os.fstat(handle), os.lstat(self.path)):
                    return handle
            except FileNotFoundError:
                pass
            os.close(handle)

    def release(self) -> None:
        if self.handle >= 0:
            if os.name == "nt":
                os.ftruncate(self.handle, 0)
            else:
                self.path.unlink(missing_ok=True)
            os.close(self.handle)
            self.handle = -1


def _take(handle: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond the text, which stays readable
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(handle: int) -> dict:
    """The last writer; {} for a new file.

    Raises:
        FileError: if the file holds something else.
    """
    os.lseek(handle, 0, os.SEEK_SET)
    data = os.read(handle, 4096)
    left = parse_json(data, "the lock") if data else {}
    if left and not {"host", "pid"} <= set(left):
        raise FileError("the lock file names no owner")
    return left


def _name(left: dict) -> str:
    return f"process {left.get('pid', '?')} on {left.get('host', '?')}"
