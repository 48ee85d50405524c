"""Run a learner's function so that nothing it does can hang or break the notebook.

The function runs in a thread of its own. Unlike a signal, that works on every system and under any
caller; the price is that a call stuck inside C code can only be abandoned, not stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PRINT_LIMIT = 2000  # characters of output that are kept
PRINT_LINES = 8


class _Stop(BaseException):
    """Raised inside a function that ran too long; not an Exception, so `except` rarely swallows
    it."""


class _Capped(io.TextIOBase):
    """Keeps the first lines that are printed and drops the rest."""

    def __init__(self) -> None:
        self._kept, self._lost = "", False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        room = PRINT_LIMIT - len(self._kept)
        self._kept += text[:room]
        self._lost |= len(text) > room
        return len(text)

    @property
    def kept(self) -> str:
        lines = self._kept.splitlines()
        lost = ["…"] if self._lost or len(lines) > PRINT_LINES else []
        return "\n".join(lines[:PRINT_LINES] + lost)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one guarded call: it returned `value`, raised `error`, or ran out of time."""

    value: Any = None
    error: BaseException | None = None
    timed_out: bool = False
    stopped: bool = True
    printed: str = ""


def run_limited(function: Callable[..., Any], arguments: tuple, seconds: float) -> Outcome:
    """Call a function with a time limit, catching everything it raises and prints.

    Args:
        function: called with `arguments`.
        seconds: wall-clock limit.

    Returns:
        An Outcome; `stopped` is False if the function could not be ended and is still running.
    """
    result: dict[str, Any] = {}

    def call() -> None:
        try:
            result["value"] = function(*arguments)
        except _Stop:
            pass
        except BaseException as error:  # SystemExit of the learner too
            result["error"] = error

    output = _Capped()
    worker = threading.Thread(target=call, name="checked-function", daemon=True)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(_Capped()):
        worker.start()
        try:
            worker.join(seconds)
        except BaseException:  # ■ Interrupt: end the function too
            _stop(worker)
            raise
        timed_out = worker.is_alive()
        stopped = not timed_out or _stop(worker)
    if timed_out:
        return Outcome(timed_out=True, stopped=stopped, printed=output.kept)
    return Outcome(result.get("value"), result.get("error"), printed=output.kept)


def _stop(worker: threading.Thread, patience: float = 2.0) -> bool:
    """Raise _Stop inside a thread until it ends; return False if it does not."""
    deadline = time.monotonic() + patience
    while worker.is_alive() and time.monotonic() < deadline:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(worker.ident or 0), ctypes.py_object(_Stop)
        )
        worker.join(0.1)
    return not worker.is_alive()


def where(error: BaseException, function: Callable[..., Any]) -> str:
    """The line of the learner's own function or class at which an error arose, or "" if unknown."""
    parts = vars(function).values() if isinstance(function, type) else [function]
    files = {part.__code__.co_filename for part in parts if hasattr(part, "__code__")}
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files
    ]
    return (frames[-1].line or "").strip() if frames else ""
