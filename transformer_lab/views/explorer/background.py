"""Background work, done while the model is idle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ...adapters.interrupts import uninterrupted
from ...training.usage import ModelIsTraining, idle_for, is_wanted

REST = 0.4  # seconds after a click, for its result to be painted before work is started
AGAIN = 0.1  # seconds until an interrupted step is tried again
CLOSES_WITHIN = 10.0  # seconds: the longest that one layer may take


class Interrupted(Exception):
    """The model is needed elsewhere, or the view was closed. Only the last step of the work is
    lost."""


class Background:
    """Runs steps of work, one after the other, in a thread that lives while there is something to
    do.

    Args:
        model: a torch module; any other use of it comes first.
        step: does the next piece of work; returns False if there was none.
        failed: called with the error that ended the work early.
    """

    def __init__(self, model: Any, step: Callable[[], bool], failed: Callable[[Exception], None]):
        self._model, self._step, self._failed = model, step, failed
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._again = self._opened = False

    def open(self) -> None:
        """Start the work."""
        self._opened = True
        self.wake()

    @uninterrupted
    def wake(self) -> None:
        """Start or continue the work, if there is any; without effect before `open`."""
        with self._lock:
            if not self._opened or self._closed.is_set():
                return
            self._again = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the work, and wait for its thread."""
        uninterrupted(self._closed.set)()
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSES_WITHIN)

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds; return whether the work is done."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None

    def check(self) -> None:
        """Check, between layers, whether the work may go on.

        Raises:
            Interrupted: if the work must give way.
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
        # No cell would show an error of this thread, so the view reports it.
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
