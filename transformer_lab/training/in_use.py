"""Who is using a model at this moment, so that a click in a view never disturbs its training.

A notebook may answer a view in another thread while a cell trains the very model that the view
edits. `train` marks the model for as long as it updates it; a view that wants to edit it asks first.
The mark lies on the model itself. Copies and pickles of the model begin without it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..hub.wrappers import bare

LONGEST_WAIT = 30.0  # seconds that training waits for a view to finish its answer
_NAME = "_transformer_lab_use"


class ModelIsTraining(ValueError):
    """The model is being trained, and cannot be edited meanwhile."""

    def __init__(self) -> None:
        super().__init__("training…: a cell is training this model; try again when it has ended")


class _Use:
    """How many train a model and how many edit it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.training = 0
        self.waiting = 0  # those that want it now, patient ones aside
        self.editing: int | None = None  # the thread
        self.depth = 0
        self.left = -math.inf  # when somebody who is not patient was done with it

    def __reduce__(self):  # nobody uses a copy yet
        return _Use, ()

    def begin_training(self) -> None:
        with self.changed:
            self.training += 1  # no new edit begins from here on
            mine = threading.get_ident()
            self.changed.wait_for(lambda: self.editing in (None, mine), timeout=LONGEST_WAIT)

    def end_training(self) -> None:
        with self.changed:
            self.training = max(0, self.training - 1)


def use_of(model: Any) -> _Use:
    """The mark on a model; made when first asked for."""
    model = bare(model)
    return model.__dict__.setdefault(_NAME, _Use())


def is_training(model: Any) -> bool:
    """Whether `train` is updating this very model, and not a copy of it."""
    return use_of(model).training > 0


def is_wanted(model: Any) -> bool:
    """Whether somebody waits for the model who is not patient: a click, or training."""
    use = use_of(model)
    return use.waiting > 0 or use.training > 0


def idle_for(model: Any) -> float:
    """Seconds since somebody who is not patient was done with the model."""
    return time.monotonic() - use_of(model).left


@contextmanager
def held_for_edits(model: Any, *, patient: bool = False) -> Iterator[None]:
    """While open, no other thread's view edits the model, and training waits before it begins.

    Args:
        patient: of work in the background, which asks `is_wanted` and gives way.

    Raises:
        ModelIsTraining: when the model is being trained.
    """
    use, mine = use_of(model), threading.get_ident()
    with use.changed:
        use.waiting += not patient
        try:
            free = use.changed.wait_for(lambda: use.editing in (None, mine), timeout=LONGEST_WAIT)
        finally:
            use.waiting -= not patient
        if not free:
            raise ValueError("another view has been using this model for too long; try again")
        if is_training(model):
            raise ModelIsTraining
        use.editing, use.depth = mine, use.depth + 1
    try:
        yield
    finally:
        with use.changed:
            use.depth -= 1
            if not use.depth:
                use.editing = None
                use.left = use.left if patient else time.monotonic()
            use.changed.notify_all()
