"""Ctrl-C (a notebook's ■) during training: at once, but never between two halves of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TrainingStopped(Exception):
    """Training was stopped by the user; what was learned and logged is kept.

    In a notebook it shows as one line, and it stops "Run All".
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class Interrupts:
    """Takes SIGINT while training runs in the main thread; elsewhere it does nothing.

    While training computes, an interrupt raises KeyboardInterrupt as usual; inside `held()`,
    where weights change, it waits until the end of the block; while the caller's own loop body
    runs (`lent()`), `on_stop` is called first, and what it returns is raised there.
    """

    def __init__(self, on_stop: Callable[[], Exception]):
        self.on_stop = on_stop
        self.previous = None
        self.installed = self.holding = self.lending = self.pending = False

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self.previous = signal.getsignal(signal.SIGINT)
        if callable(self.previous):  # else it is ignored, or not Python's
            signal.signal(signal.SIGINT, self._handle)
            self.installed = True

    def remove(self) -> None:
        if self.installed and signal.getsignal(signal.SIGINT) == self._handle:
            previous = self.previous
            # Two trainings that take turns need not end in the reverse order of their start.
            while isinstance(owner := getattr(previous, "__self__", None), Interrupts):
                if owner.installed:
                    break
                previous = owner.previous
            signal.signal(signal.SIGINT, previous)
        self.installed = False

    @contextmanager
    def held(self) -> Iterator[None]:
        self.holding = True
        try:
            yield
        finally:
            self.holding = False
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    @contextmanager
    def lent(self) -> Iterator[None]:
        self.lending = True
        try:
            yield
        finally:
            self.lending = False

    def _handle(self, signum, frame) -> None:
        if self.installed and self.holding:
            self.pending = True
        elif self.installed and self.lending and self.previous is signal.default_int_handler:
            raise self.on_stop()
        else:
            self.previous(signum, frame)  # type: ignore[misc]
