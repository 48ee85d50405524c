"""Handle Ctrl-C (a notebook's ■) during training: at once, but never in the middle of a step."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ..adapters.interrupts import SignalHandler


class TrainingStopped(Exception):
    """Raised when the user stops training; the weights and the log so far are kept.

    A notebook shows it as one line, and it stops "Run All".
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class Interrupts(SignalHandler):
    """Handles SIGINT while training runs in the main thread; elsewhere it does nothing.

    While training computes, an interrupt raises KeyboardInterrupt as usual; inside `held()`,
    where weights change, it waits until the end of the block; while the caller's own loop body
    runs (`lent()`), `on_stop` is called first, and what it returns is raised there.
    """

    def __init__(self, on_stop: Callable[[], Exception]):
        super().__init__()
        self.on_stop = on_stop
        self.holding = self.lending = self.pending = False

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

    def handle(self, signum: int, frame: FrameType | None) -> None:
        if self.installed and self.holding:
            self.pending = True
        elif self.installed and self.lending and self.last is signal.default_int_handler:
            raise self.on_stop()
        else:
            super().handle(signum, frame)
