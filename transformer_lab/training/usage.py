"""Track who is using a model, so that a click in a view never disturbs its training.

A notebook may answer a view in another thread while a cell trains the very model that the view
edits. `train` marks the model while it updates it; a view checks the mark before it edits. The mark
is on the model itself. Copies and pickles of the model start without it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..adapters.interrupts import raise_if_interrupted, sheltered
from ..adapters.wrappers import bare

LONGEST_WAIT = 30.0  # seconds that training waits for a view to finish its answer
_NAME = "_transformer_lab_use"


class ModelIsTraining(ValueError):
    """The model is being trained, and can be neither edited nor trained elsewhere meanwhile."""

    def __init__(self) -> None:
        super().__init__("training…: a cell is training this model; try again when it has ended")


class _Use:
    """The mark on a model: the loops that train it and the thread that edits it."""

    def __init__(self) -> None:
        # A plain lock: Ctrl+C may come between the two steps of acquiring a threading.Condition,
        # which is then never released.
        self.lock = threading.Lock()
        self.trainers: dict[Any, int] = {}  # and their threads
        self.waiting = 0  # users that want it now, except patient ones
        self.editing: int | None = None  # the thread
        self.depth = 0
        self.left = -math.inf  # when a user who is not patient last finished

    def __reduce__(self):  # nobody uses a copy yet
        return _Use, ()

    def end_earlier(self) -> None:
        """End an earlier training loop of this thread that is paused between two steps: two loops
        would change the same weights, and that of a failed cell may pause for ever.

        Raises:
            ModelIsTraining: if another thread trains the model.
        """
        threads = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
        for trainer, thread in list(self.trainers.items()):
            if thread in threads:
                raise ModelIsTraining
            trainer.stopped("ended by another tl.train of this model")

    def begin_training(self, trainer: Any) -> None:
        with self.lock:
            self.trainers[trainer] = threading.get_ident()  # no new edit begins from here on
        wait_for(lambda: self.editing in (None, threading.get_ident()))

    def end_training(self, trainer: Any) -> None:
        with self.lock:
            self.trainers.pop(trainer, None)

    def begin_edit(self) -> bool:
        """Whether this thread may edit the model from here on.

        Raises:
            ModelIsTraining: if it is being trained.
        """
        with self.lock:
            if self.editing not in (None, threading.get_ident()):
                return False
            if self.trainers:
                raise ModelIsTraining
            self.editing, self.depth = threading.get_ident(), self.depth + 1
            return True

    def end_edit(self, patient: bool) -> None:
        with self.lock:
            self.depth -= 1
            if not self.depth:
                self.editing = None
                self.left = self.left if patient else time.monotonic()


def wait_for(condition: Callable[[], bool]) -> bool:
    """Wait up to `LONGEST_WAIT` for a condition; return whether it holds. Ctrl+C ends the wait,
    even while a sheltered context is entered."""
    end = time.monotonic() + LONGEST_WAIT
    while not (so := condition()) and time.monotonic() < end:
        raise_if_interrupted()
        time.sleep(0.005)
    return so


def use_of(model: Any) -> _Use:
    """The mark on a model, created on first use."""
    model = bare(model)
    return model.__dict__.setdefault(_NAME, _Use())


def is_training(model: Any) -> bool:
    """Whether `train` is updating this very model, and not a copy of it."""
    return bool(use_of(model).trainers)


def is_wanted(model: Any) -> bool:
    """Whether a user who is not patient waits for the model: a click, or training."""
    use = use_of(model)
    return use.waiting > 0 or bool(use.trainers)


def idle_for(model: Any) -> float:
    """Seconds since a user who is not patient last finished with the model."""
    return time.monotonic() - use_of(model).left


@sheltered
def held_for_edits(model: Any, *, patient: bool = False) -> Iterator[None]:
    """While open, no other thread's view edits the model, and training waits before it begins.

    Args:
        patient: for background work, which checks `is_wanted` and gives way.

    Raises:
        ModelIsTraining: if the model is being trained.
    """
    use = use_of(model)
    with use.lock:
        use.waiting += not patient
    try:
        free = wait_for(use.begin_edit)
    finally:
        with use.lock:
            use.waiting -= not patient
    if not free:
        raise ValueError("another view is still using this model; try again")
    try:
        yield
    finally:
        use.end_edit(patient)
