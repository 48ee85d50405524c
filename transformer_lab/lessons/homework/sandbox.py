"""A sandbox for a submission, which limits what it can see and use of the machine.

bubblewrap creates it: a file system of its own with Python, this package and the submission, no
network, an unprivileged user. Everything writable is memory-backed and small, and only the answer
on stdout leaves it, so that it cannot fill the teacher's disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import re
import shutil
import site
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import transformer_lab
from transformer_lab.lessons.homework.group import counted

STEPS = Path(__file__).with_name("steps.py")
LOOK = 0.2  # seconds between two measurements of what a sandbox uses
SPARE = 64  # processes and threads allowed beyond the limit, so that passing it can be measured
ERRORS_KEPT = 20_000  # bytes of stderr
SHARED = 64 << 20  # bytes of /dev/shm
# Files of a Unix system that programs need to find their libraries. No user names, no secrets.
SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/mime.types",
    "/sys/devices/system/cpu",
)
OF_PREFIX = ("bin", "lib", "lib64", "share", "etc", "pyvenv.cfg")
STAND_INS = {
    "passwd": "nobody:x:65534:65534:nobody:/tmp:/bin/sh\n",
    "group": "nogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n",
}
UNPROTECTED = (
    "without the sandbox, submissions run with your permissions: they can read and change your "
    "files, the gradebook, the solutions and other submissions, reach the network, and leave "
    "processes behind. Limits on time, memory and file size still apply, and feedback is still "
    "cleaned"
)


class Stopped(Exception):
    """A step was ended or failed; the text says why."""


@dataclass(frozen=True)
class Limits:
    """Limits for one submission: seconds of wall-clock time, bytes of memory (of each process, and
    of all), bytes of disk, processes and threads, and bytes of the answer."""

    seconds: float = 900
    memory: int = 2 << 30
    disk: int = 200 << 20
    processes: int = 256
    answer: int = 20 << 20

    def __post_init__(self) -> None:
        lowest = {"seconds": 1, "memory": 256 << 20, "disk": 16 << 20, "processes": 32, "answer": 1}
        for name, least in lowest.items():
            value = getattr(self, name)
            if not least <= value < 2**60:
                raise ValueError(f"{name} must be at least {least}, got {value}")


def box_problem() -> str:
    """Return why no sandbox can be created here, or ""."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (on Debian: apt install bubblewrap)"
    with _box([], Limits()) as (box, files):
        options: dict[str, Any] = dict(capture_output=True, text=True, env=_environment("/tmp"))
        options |= dict(pass_fds=files)
        run = subprocess.run([*box, sys.executable, "-c", "import json"], **options)
    if run.returncode == 0:
        return ""
    reason = (run.stderr.strip().splitlines() or ["it gave no reason"])[-1]
    return f"bubblewrap (0.8 or newer is needed) cannot make a sandbox here: {reason}"


class Sandbox:
    """A process in a sandbox of its own that runs `steps`; it ends with the `with` statement.

    Args:
        step: "run", which answers once, or "serve", which answers each request.
        assignment: its name.
        seen: the folders that are passed to `steps`, mounted under /in: first a course folder
            with this assignment and no students.
        limits: the process is ended if it exceeds them; seconds are for one answer.
        boxed: False runs it with all your rights; then limits are the only protection.
        leave: an event that ends the process once it is set.
        hidden: the course; it is hidden in the sandbox, wherever it is.
    """

    def __init__(
        self,
        step: str,
        assignment: str,
        seen: Sequence[Path],
        limits: Limits,
        *,
        boxed: bool,
        leave: threading.Event,
        hidden: Path,
    ) -> None:
        self.step, self.assignment, self.seen = step, assignment, seen
        self.limits, self.boxed, self.leave, self.hidden = limits, boxed, leave, hidden

    def __enter__(self) -> Sandbox:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        limits = self.limits
        places = [(path, f"/in/{i}") for i, path in enumerate(self.seen)]
        made = _box(places, limits, self.hidden) if self.boxed else _no_box()
        box, files = stack.enter_context(made)
        work = "/tmp" if self.boxed else box.pop()
        names = [place if self.boxed else str(path) for path, place in places]
        allowed: dict[str, Any] = {"memory": limits.memory, "disk": limits.disk}
        allowed |= {"seconds": int(limits.seconds) + 1 if self.step == "run" else 0}
        allowed |= {"processes": limits.processes + SPARE if self.boxed else 0}
        command = [sys.executable, str(STEPS), self.step, self.assignment, *names, work]
        self._process = subprocess.Popen(
            [*box, *command, json.dumps(allowed)],
            env=_environment(work),
            start_new_session=True,
            pass_fds=files,
            stdin=subprocess.PIPE if self.step == "serve" else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._answer = _Reader(self._process.stdout, limits.answer)
        self._errors = _Reader(self._process.stderr, ERRORS_KEPT, last=True)
        stack.callback(self._end)

    def _end(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        _end(self._process, self.boxed)
        self._answer.join(5)
        self._errors.join(5)

    def answer(self, request: str = "") -> bytes:
        """Return the answer to a request (`run` needs none): bytes that a submission may have
        forged.

        Raises:
            Stopped: it reached a limit or failed; send no further request.
        """
        if request:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):  # it has ended; handled below
                self._process.stdin.write(request.encode() + b"\n")
                self._process.stdin.flush()
        if why := self._wait():
            raise Stopped(why)
        status = self._process.poll()
        if status is None and self.step == "serve":
            return self._answer.line()
        self._answer.join(5)
        self._errors.join(5)
        if status:
            raise Stopped(reason_in(self._errors.rest, status, self.limits))
        return self._answer.line()

    def _wait(self) -> str:
        """Wait for the answer of `serve` or the end of `run`; return "" or why it must be ended."""
        limits, answer = self.limits, self._answer
        end = time.monotonic() + limits.seconds
        while self._process.poll() is None and (self.step == "run" or answer.lines.empty()):
            answer.news.wait(LOOK)
            answer.news.clear()
            if self.leave.is_set():
                return "grading was interrupted"
            if time.monotonic() > end:
                return f"not finished within {limits.seconds:g} seconds"
            if answer.full:
                break
            memory, tasks = _use(self._process.pid, limits)
            if tasks > limits.processes:
                return f"more than {limits.processes} processes and threads"
            if memory > limits.memory:
                return f"more than {size(limits.memory)} of memory"
        if answer.full:
            return f"its notebook and feedback are larger than {size(limits.answer)}"
        return ""


class _Reader(threading.Thread):
    """Reads a pipe to its end and keeps lines; with `last`, the last `room` bytes, in `rest`.

    With more than `room` unread bytes it becomes `full`, and keeps nothing more.
    """

    def __init__(self, pipe: IO[bytes] | None, room: int, *, last: bool = False) -> None:
        super().__init__(daemon=True)
        assert pipe is not None
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.rest, self.full, self.news = b"", False, threading.Event()
        self._pipe, self._room, self._last = pipe, room, last
        self._parts: list[bytes] = []
        self._held = 0
        self.start()

    def line(self) -> bytes:
        """The next line.

        Raises:
            Stopped: there is none.
        """
        try:
            line = self.lines.get_nowait()
        except queue.Empty:
            raise Stopped("its sandbox ended without an answer") from None
        self._held = 0
        return line

    def run(self) -> None:
        with self._pipe as pipe:
            while part := os.read(pipe.fileno(), 1 << 16):
                self._take(part)
        self.news.set()

    def _take(self, part: bytes) -> None:
        self._held += len(part)
        if self._last:
            self.rest = (self.rest + part)[-self._room :]
        elif self._held > self._room:
            self.full, self._parts = True, []
            self.news.set()
        else:
            *ends, rest = part.split(b"\n")
            for end in ends:
                self.lines.put(b"".join([*self._parts, end]))
                self._parts = []
                self.news.set()
            self._parts.append(rest)


def _use(pid: int, limits: Limits) -> tuple[int, int]:
    """Bytes of memory, and number of processes and threads, of a process and its descendants."""
    import psutil

    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0, 0
    if len(family) > limits.processes:
        return 0, len(family)
    memory = tasks = 0
    for one in family:
        with contextlib.suppress(psutil.Error):
            tasks += one.num_threads()
            memory += one.memory_info().rss
    if memory > limits.memory:  # shared pages were counted more than once
        memory = sum(map(_own_memory, family))
    return memory, tasks


def _own_memory(process: Any) -> int:
    import psutil

    try:
        return process.memory_full_info().pss
    except AttributeError:  # not on Linux
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _end(process: subprocess.Popen, boxed: bool) -> None:
    """Kill a process and its descendants: those in a sandbox end with it, others if they are
    found."""
    import psutil

    below = []
    with contextlib.suppress(psutil.Error):
        below = [] if boxed else psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for one in below:
        with contextlib.suppress(psutil.Error):
            one.kill()
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, 9)
    process.wait()


def reason_in(text: bytes | str, status: int, limits: Limits) -> str:
    """The reason why a step failed, derived from its stderr and exit status."""
    log = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    known = {
        "No space left on device|disk is full|File too large": f"more than {size(limits.disk)} of disk",
        "MemoryError": f"more than {size(limits.memory)} of memory",
        "partial credit cannot be greater": "one of its tests gave more points than it is worth",
        "DeadKernelError": "its kernel was killed or exited",
        "CellTimeoutError|UnresponsiveKernelError": "a cell did not finish, and could not be stopped",
        "FileNotFoundError.*/course": "one of its cells deleted the notebook or its folder",
    }
    for pattern, reason in known.items():
        if re.search(pattern, log):
            return reason
    errors = re.findall(r"^[\w.]*(?:Error|Exception|Missing)\w*(?::.*)?$", log, re.MULTILINE)
    errors = errors or re.findall(r"ERROR\] (?!Please see)(.*)", log)
    if errors:
        return errors[-1].strip()[:300]
    if status < 0 or status > 128:
        return f"it was killed (signal {-status if status < 0 else status - 128})"
    return f"it ended with status {status}"


def size(count: int) -> str:
    """Format a number of bytes in MiB or GiB."""
    return f"{count / 2**30:g} GiB" if count >= 1 << 30 else f"{count / 2**20:g} MiB"


# ---------------------------------------------------------------- content of a sandbox


def _environment(home: str) -> dict[str, str]:
    """The environment of a sandbox: of the caller's, little more than where programs are."""
    path = [str(Path(sys.executable).parent)]
    path += [p for p in os.environ.get("PATH", "").split(os.pathsep) if p.startswith("/usr")]
    keep = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP") if name in os.environ}
    return keep | {
        "PATH": os.pathsep.join([*path, "/usr/bin", "/bin"]),
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "JUPYTER_RUNTIME_DIR": f"{home}/runtime",
        "PYTHONPATH": os.pathsep.join(map(str, _import_from())),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _import_from() -> list[Path]:
    """The folders from which this package and the user's own packages are imported."""
    users = Path(site.getusersitepackages()) if site.ENABLE_USER_SITE else None
    package = Path(transformer_lab.__file__).parent
    return [package.parent, *([users] if users and users.is_dir() else [])]


def _needed() -> Iterator[Path]:
    """Yield the paths that grading reads: system libraries, Python with its packages, this
    package."""
    yield from map(Path, SYSTEM)
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        yield from (Path(prefix) / part for part in OF_PREFIX)
    yield Path(sys.executable)
    package, *others = _import_from()
    yield package / "transformer_lab"
    yield package / "data"  # beside the package in a clone
    yield from others


def _links(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield (symlink, target) for each symlink on the way to a path, and last (real path, "")."""
    here, todo = Path("/"), list(path.parts[1:])
    for _ in range(1000):
        if not todo:
            yield here, ""
            return
        part = todo.pop(0)
        step = here.parent if part == ".." else here / part
        if part == ".." or not step.is_symlink():
            here = step
            continue
        target = os.readlink(step)
        yield step, target
        steps = Path(target).parts
        here, todo = (
            (Path("/"), [*steps[1:], *todo]) if steps[0] == "/" else (here, [*steps, *todo])
        )


@contextlib.contextmanager
def _no_box() -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """A temporary folder to work in, instead of the arguments of a sandbox."""
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        yield [folder], ()


@contextlib.contextmanager
def _box(
    seen: Sequence[tuple[Path, str]], limits: Limits, hidden: Path | None = None
) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """bubblewrap's arguments, and the open files to pass to it. `seen`: folders and their mount
    points in the sandbox."""
    steps = [step for path in _needed() if path.exists() for step in _links(path)]
    real = sorted({path for path, target in steps if not target})
    roots = [path for path in real if not any(parent in real for parent in path.parents)]
    links = {
        path: target
        for path, target in steps
        if target and not any(parent in roots for parent in path.parents)
    }
    box = [
        shutil.which("bwrap") or "bwrap",
        "--dev",
        "/dev",
        "--size",
        str(SHARED),
        "--tmpfs",
        "/dev/shm",
    ]
    box += [
        "--remount-ro",
        "/dev",
        "--proc",
        "/proc",
        "--size",
        str(limits.disk),
        "--tmpfs",
        "/tmp",
    ]
    for path in roots:
        box += ["--ro-bind", str(path), str(path)]
    if hidden and any(parent in roots for parent in hidden.parents):
        box += ["--tmpfs", str(hidden), "--remount-ro", str(hidden)]
    for path, target in links.items():
        box += ["--symlink", target, str(path)]
    for path, place in seen:
        box += ["--ro-bind", str(path), place]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grading-")))
        for name, text in STAND_INS.items():
            (folder / name).write_text(text, "utf-8")
            box += ["--ro-bind", str(folder / name), f"/etc/{name}"]
        box += ["--remount-ro", "/", "--chdir", "/tmp", "--hostname", "box", "--cap-drop", "ALL"]
        box += ["--unshare-all", "--unshare-user", "--disable-userns", "--uid", "65534"]
        box += ["--gid", "65534", "--die-with-parent", "--new-session"]
        files: tuple[int, ...] = ()
        if rules := _rules():
            (folder / "rules").write_bytes(rules)
            files = (stack.enter_context(open(folder / "rules", "rb")).fileno(),)
            box += ["--seccomp", str(files[0])]
        group = stack.enter_context(counted(limits.processes + SPARE))
        yield [*group, *box, "--"], files


def _rules() -> bytes:
    """A seccomp program that refuses memory that counts for no process and no disk."""
    # The architecture's number, and those of memfd_create, memfd_secret, shmget and msgget.
    known = {
        "x86_64": (0xC000003E, (319, 447, 29, 68)),
        "aarch64": (0xC00000B7, (279, 447, 194, 186)),
    }
    if platform.machine() not in known:
        return b""
    machine, refused = known[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, machine), (give, 0, 0, 0x80000000), (load, 0, 0, 0)]
    tests = [(at_least, 0x40000000), *((equal, number) for number in refused)]  # first: the x32 ABI
    program += [(code, len(tests) - i, 0, value) for i, (code, value) in enumerate(tests)]
    program += [(give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x00050001)]  # allow; "not permitted"
    return b"".join(struct.pack("=HBBI", *line) for line in program)
