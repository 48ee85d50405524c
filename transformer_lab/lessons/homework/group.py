"""A limit on processes that holds for root too.

For RLIMIT_NPROC, Linux counts a user's processes and lets root exceed the limit (`copy_process` in
kernel/fork.c). A process that root starts in a sandbox belongs to root outside of it: a fork bomb
there grew unchecked and left no CPU time to the process that would have stopped it. A control group
limits every user (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/pids.rst of Linux).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

ENDED = 5.0  # seconds that killed processes may take to be gone


@contextlib.contextmanager
def counted(most: int) -> Iterator[list[str]]:
    """A prefix for a command that limits it and its children to `most` processes and threads; `[]`
    if RLIMIT_NPROC does that, or no group can be created."""
    folder = _make(most)
    if folder is None:
        yield []
        return
    try:
        # If the system refuses, the command still runs, as if no group could be created.
        enter = '{ echo $$ > "$0"; } 2>/dev/null; exec "$@"'
        yield ["/bin/sh", "-c", enter, str(folder / "cgroup.procs")]
    finally:
        _remove(folder)


def _make(most: int) -> Path | None:
    """Create a group; None if that is not possible or not needed."""
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
    """Yield the folders in which a group that counts processes can be created, in cgroup v1 or v2,
    nearest first."""
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
            # A group with processes of its own can have no such group below it; a parent may.
            for place in (folder, *folder.parents):
                with contextlib.suppress(OSError):
                    if "pids" in (place / "cgroup.subtree_control").read_text("ascii").split():
                        yield place
                if place == Path(mount):
                    break


def _within(mount: str, root: str, path: str) -> Path:
    """The folder of a group, if the group `root` is mounted at `mount`."""
    below = os.path.relpath(path, root)
    return Path(mount) if below.startswith("..") else Path(mount, below)


def _remove(folder: Path) -> None:
    """Kill the processes left in a group, and remove it once they are gone."""
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
