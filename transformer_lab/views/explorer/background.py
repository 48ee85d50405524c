"""Work that is done while nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ...adapters.interrupts import uninterrupted
from ...training.usage import ModelIsTraining, idle_for, is_wanted

REST = 0.4  # seconds after a click in which its result is painted, and nothing else is begun
AGAIN = 0.1  # seconds until what was interrupted is tried again
CLOSES_WITHIN = 10.0  # seconds: the longest that one layer may take


class Interrupted(Exception):
    """Somebody waits for the model, or the view was closed. Nothing of the work is lost but its last
    step."""


class Background:
    """Steps of work, one after the other, in a thread that lives while there is something to do.

    Args:
        model: a torch module; who else wants it comes first.
        step: does the next thing, and returns whether there was one.
        failed: is told what ended the work before its time.
    """

    def __init__(self, model: Any, step: Callable[[], bool], failed: Callable[[Exception], None]):
        self._model, self._step, self._failed = model, step, failed
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._again = self._opened = False

    def open(self) -> None:
        """From now on there is work to do."""
        self._opened = True
        self.wake()

    @uninterrupted
    def wake(self) -> None:
        """There may be something to do; nothing happens before it was opened."""
        with self._lock:
            if not self._opened or self._closed.is_set():
                return
            self._again = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Returns when no thread is left."""
        uninterrupted(self._closed.set)()
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSES_WITHIN)

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Whether all was done in so many seconds."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None

    def check(self) -> None:
        """
        Raises:
            Interrupted: when the work is to give way; asked between layers.
        """
        if self._closed.is_set() or is_wanted(self._model):
            raise Interrupted

    def _run(self) -> None:
        try:
            while self._goes_on():
                self._rest()
                try:
                    self._again = self._step() or self._again
                except Interrupted:
                    self._again = True
                    self._closed.wait(AGAIN)
        # What goes wrong here would end up in no cell: it is told in the view.
        except ModelIsTraining:
            self._end()
        except Exception as error:
            self._end()
            self._failed(error)

    def _goes_on(self) -> bool:
        with self._lock:
            if self._closed.is_set() or not self._again:
                self._thread = None
                return False
            self._again = False
            return True

    def _end(self) -> None:
        with self._lock:
            self._thread, self._again = None, False

    def _rest(self) -> None:
        while not self._closed.is_set() and (
            is_wanted(self._model) or idle_for(self._model) < REST
        ):
            self._closed.wait(0.05)
