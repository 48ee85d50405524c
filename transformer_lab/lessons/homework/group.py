"""A limit on processes that holds for root too.

Linux counts an owner's processes for RLIMIT_NPROC and lets root have more than its limit
(`copy_process` in kernel/fork.c). What root starts in a box is root's outside of it: a fork bomb
there grew for as long as nobody looked, and left no time to anybody who could. A control group
counts for every owner (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/pids.rst of Linux).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

ENDED = 5.0  # seconds that what was killed may take to be gone


@contextlib.contextmanager
def counted(most: int) -> Iterator[list[str]]:
    """What to put before a command, so that Linux lets it and all below it be `most` processes and
    threads: `[]` where RLIMIT_NPROC does that, and where no group can be made."""
    folder = _make(most)
    if folder is None:
        yield []
        return
    try:
        # Where the system refuses, the command runs all the same, as where no group can be made.
        enter = '{ echo $$ > "$0"; } 2>/dev/null; exec "$@"'
        yield ["/bin/sh", "-c", enter, str(folder / "cgroup.procs")]
    finally:
        _remove(folder)


def _make(most: int) -> Path | None:
    """A new group, or None."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    for place in _places():
        folder = place / f"transformer-lab-{os.getpid()}-{time.monotonic_ns()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / "pids.max").write_text(str(most), "ascii")
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        return folder
    return None


def _places(proc: Path = Path("/proc/self")) -> Iterator[Path]:
    """Where a group can be made that counts processes, of either version: the nearest first."""
    try:
        groups = (proc / "cgroup").read_text("utf-8").splitlines()
        mounts = (proc / "mountinfo").read_text("utf-8").splitlines()
    except OSError:
        return
    own = {kind: path for _, kind, path in (line.split(":", 2) for line in groups)}
    for line in mounts:
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup" and "pids" in options.split(","):
            mine = next((path for names, path in own.items() if "pids" in names.split(",")), "/")
            yield _within(mount, root, mine)
        elif kind == "cgroup2":
            folder = _within(mount, root, own.get("", "/"))
            # A group with processes of its own has none below it that counts: one above has.
            for place in (folder, *folder.parents):
                with contextlib.suppress(OSError):
                    if "pids" in (place / "cgroup.subtree_control").read_text("ascii").split():
                        yield place
                if place == Path(mount):
                    break


def _within(mount: str, root: str, path: str) -> Path:
    """Where a group is seen, if `root` of all groups is seen at `mount`."""
    below = os.path.relpath(path, root)
    return Path(mount) if below.startswith("..") else Path(mount, below)


def _remove(folder: Path) -> None:
    """End what is left in a group, and take it away once that is gone."""
    end = time.monotonic() + ENDED
    while True:
        with contextlib.suppress(OSError, ValueError):
            for process in (folder / "cgroup.procs").read_text("ascii").split():
                os.kill(int(process), 9)
        try:
            folder.rmdir()
            return
        except OSError:
            if time.monotonic() > end or not folder.is_dir():
                return
        time.sleep(0.02)
