"""Gradient checkpointing: torch drops the activations of a function and runs it again in the backward
pass. That second run may come after an edit has ended, or while one is open that the first run did
not have, so the edits of the first run are kept with the function.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from .interrupts import stack

NO_GRADIENTS = (
    "the model runs without gradients inside (inference mode, no_grad, or gradient checkpointing "
    "with use_reentrant=True)"
)
_MODULE = "torch.utils.checkpoint"


def computing_again() -> bool:
    """Whether this is a backward pass, in which a checkpointed layer is recomputed."""
    return torch._C._current_graph_task_id() != -1


class Rerun:
    """A checkpointed function, with the context managers under which it is computed again."""

    def __init__(self, run: Callable[..., Any]):
        self._run, self.under = run, dict[Any, Callable[[], AbstractContextManager[Any]]]()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with stack() as entered:
            for enter in self.under.values():
                entered.enter_context(enter())
            return self._run(*args, **kwargs)


class Region:
    """The innermost checkpointed function that is running, for the first time or again."""

    def __init__(self, holder: Any, name: str):
        self._holder, self._name = holder, name

    def rerun(self) -> Rerun:
        """Its `Rerun`, which takes the function's place with the first call of this."""
        run = getattr(self._holder, self._name)
        if not isinstance(run, Rerun):
            setattr(self._holder, self._name, run := Rerun(run))
        return run


def checkpointed() -> Region | None:
    """The checkpointed function that the caller is in; None outside one."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == _MODULE:
            own = frame.f_locals
            if hasattr(own.get("ctx"), "run_function"):  # use_reentrant=True, both times
                return Region(own["ctx"], "run_function")
            first = getattr(own.get("gen"), "gi_frame", None)
            held = first.f_locals.get("new_frame") if first is not None else own.get("frame")
            if hasattr(held, "recompute_fn"):
                return Region(held, "recompute_fn")
        frame = frame.f_back
    return None
