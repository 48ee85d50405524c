"""One writer a folder."""

from __future__ import annotations

import json
import os
import socket
import warnings
from pathlib import Path


class LockedError(OSError):
    """Another process writes to this folder."""


class Lock:
    """A file that says who writes to a folder. The system frees it when its owner dies; the next
    owner then finds the dead one's name in it and says so.

    Raises:
        LockedError: when the folder has a writer, giving host and process id.
    """

    def __init__(self, path: Path):
        self.path = path
        self.handle = self._open()
        left = _read(self.handle)
        mine = {"host": socket.gethostname(), "pid": os.getpid()}
        if left and left.get("host") != mine["host"]:
            # The system's lock may not reach across a network file system.
            os.close(self.handle)
            raise LockedError(
                f"{path.parent} is being written by {_name(left)}; if that process is gone, "
                f"delete {path}"
            )
        if left:
            warnings.warn(
                f"{path.parent} was being written by {_name(left)}, which is gone; taking over",
                stacklevel=5,
            )
        os.ftruncate(self.handle, 0)
        os.lseek(self.handle, 0, os.SEEK_SET)
        os.write(self.handle, json.dumps(mine).encode())

    def _open(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            if not _take(handle):
                left = _read(handle) or {}
                os.close(handle)
                raise LockedError(
                    f"{self.path.parent} is being written by {_name(left)}; wait for it to end, "
                    "stop it, or use another folder"
                )
            try:  # its last owner may have removed the file between our opening and locking it
                if os.path.samestat(os.fstat(handle), os.stat(self.path)):
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


def _read(handle: int) -> dict | None:
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        left = json.loads(os.read(handle, 4096) or b"null")
    except ValueError:
        return {}
    return left if isinstance(left, dict) else None


def _name(left: dict) -> str:
    return f"process {left.get('pid', '?')} on {left.get('host', '?')}"
