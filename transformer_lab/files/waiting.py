"""Show what a user waits for while it lasts: in a terminal, or below a notebook's cell. Nothing is
shown if nobody watches: in a pipe, under papermill and nbconvert, in another thread.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context

AFTER = 1.0  # seconds; shorter waits are not shown
EVERY = 0.25  # seconds

Progress = Callable[[int, int], None]


class _Line:
    """One line on screen, about the innermost open wait that counts, or the innermost of all."""

    def __init__(self, show: Callable[[str], None], stop: str):
        self._show, self._stop = show, stop
        self.waits: list[list] = []  # [what, done, total] of each
        self._began, self._over = time.monotonic(), threading.Event()
        self._shown = False
        # What the thread shows belongs to this cell.
        context, target = copy_context(), self._run
        self._thread = threading.Thread(target=lambda: context.run(target), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        wait = AFTER
        while not self._over.wait(wait):
            wait, self._shown = EVERY, True
            self._show(self.text)

    @property
    def text(self) -> str:
        counting = [wait for wait in self.waits if wait[2]]
        what, done, total = (counting or self.waits)[-1]
        count = f" {done:,} of {total:,} ·" if total else ""
        return f"{what} …{count} {time.monotonic() - self._began:.0f} s ({self._stop} stops it)"

    def close(self) -> None:
        self._over.set()
        if self._thread.ident is not None:  # an interrupt can come before the start
            self._thread.join()
        if self._shown:
            self._show("")


_line: ContextVar[_Line | None] = ContextVar("line", default=None)


@contextmanager
def waiting(what: str, progress: Progress | None = None) -> Iterator[Progress]:
    """Show what is being done, if it takes more than a second, until it is done.

    Args:
        what: "Loading gpt2": the beginning of the line.
        progress: is called instead, and nothing is shown.

    Yields:
        a function that takes how much is done, and of how much; an error that it raises ends the
        work. It need not be called.
    """
    if progress is not None:
        yield progress
        return
    wait = [what, 0, 0]

    def tell(done: int, total: int) -> None:
        wait[1:] = done, total

    outer, screen = _line.get(), _screen()
    if screen is None:
        yield tell
        return
    line = outer or _Line(*screen)
    line.waits.append(wait)  # before the start: the thread shows the last of them
    try:
        if outer is None:
            _line.set(line)
            line.start()
        yield tell
    finally:
        if outer is None:
            _line.set(None)
            line.close()
        line.waits.remove(wait)


def note(line: str) -> None:
    """Print a line on stderr, which stays; a wait that is shown continues below it."""
    if _line.get() is not None and sys.stderr.isatty():
        _on_terminal("")
    print(line, file=sys.stderr)


def _screen() -> tuple[Callable[[str], None], str] | None:
    """How to show a line, and what stops the work; None if nobody watches."""
    if threading.current_thread() is not threading.main_thread():
        return None
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if (kernel := getattr(shell, "kernel", None)) is not None:
        # A kernel that allows input has a user; papermill and nbconvert do not allow it.
        return (_below_cell(), "■") if getattr(kernel, "_allow_stdin", False) else None
    return (_on_terminal, "Ctrl-C") if sys.stderr is not None and sys.stderr.isatty() else None


def _on_terminal(text: str) -> None:
    width = shutil.get_terminal_size().columns - 1  # a line that wraps cannot be erased
    sys.stderr.write(f"\r\x1b[2K{text[:width]}")
    sys.stderr.flush()


def _below_cell() -> Callable[[str], None]:
    from IPython.display import display

    shown: list = []

    def show(text: str) -> None:
        data = {"text/plain": text} if text else {}
        if shown:
            shown[0].update(data, raw=True)
        elif text:
            shown.append(display(data, raw=True, display_id=True))

    return show
