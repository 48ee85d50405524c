"""Context managers that Ctrl+C, a timeout or another signal cannot leave half entered or half left.

Python handles a signal between any two steps of the main thread: after a hook was registered and before
its handle was stored, or at the first step of the `__exit__` that should remove it. While one of these
context managers is open in the main thread, signals that Python code handles go to a handler that looks
at the running code: during an entry or an exit the signal waits until that has ended, everywhere else
(in a forward pass, say) it is handled at once. Signals never interrupt other threads, so for them
nothing changes. (Below, an interrupt is an exception that the handler of a signal raises.)
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from types import CodeType, FrameType, TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

import torch
import torch.overrides
from torch import nn

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
# Without the enumerations of `signal`, which take 40 times as long: a trace makes 15 such calls.
_signal: Any = import_module("_signal")
_handler_now, _set_handler = _signal.getsignal, _signal.signal


# Signals whose handlers may raise: Ctrl+C, timeouts, and what ends or preempts a job.
_NAMES = "INT", "BREAK", "ALRM", "VTALRM", "PROF", "TERM", "HUP", "QUIT", "XCPU", "USR1", "USR2"
_SIGNALS = [int(getattr(signal, f"SIG{n}")) for n in _NAMES if hasattr(signal, f"SIG{n}")]


class SignalHandler:
    """Handles a signal from `install` to `remove` in the main thread; in others, these do nothing. A
    signal that it does not handle goes to the previous handler."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.number = number
        self.previous: Any = None
        self.installed = False

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self.previous = _handler_now(self.number)
        if callable(self.previous):  # else the signal is ignored, or not handled by Python
            self.installed = True
            _set_handler(self.number, self.handle)

    def remove(self) -> None:
        here = threading.current_thread() is threading.main_thread()
        if self.installed and here and _handler_now(self.number) == self.handle:
            previous = self.previous
            # Handlers that overlap need not be removed in the reverse order of their installation.
            while isinstance(owner := getattr(previous, "__self__", None), SignalHandler):
                if owner.installed:
                    break
                previous = owner.previous
            _set_handler(self.number, previous)
        self.installed = False  # not before: an interrupt in between would leave the handler behind

    def handle(self, signum: int, frame: FrameType | None) -> None:
        self.previous(signum, frame)

    @property
    def last(self) -> Any:
        """The first handler along the chain that is not one of these."""
        previous = self.previous
        while isinstance(owner := getattr(previous, "__self__", None), SignalHandler):
            previous = owner.previous
        return previous


class _Shield(SignalHandler):
    """Delays a signal while a context manager is entered or left."""

    def handle(self, signum: int, frame: FrameType | None) -> None:
        if self.installed and _is_shielded(frame):
            if signum not in _now.waiting:
                _now.waiting.append(signum)
        else:
            self.interrupt(frame)

    def interrupt(self, frame: FrameType | None) -> None:
        """Pass the signal on, and count it if the handler raises."""
        try:
            self.previous(self.number, frame)
        except BaseException:
            _now.n_interrupts += 1
            raise


class _Now:
    """The state of the main thread."""

    def __init__(self) -> None:
        self.shields = {number: _Shield(number) for number in _SIGNALS}
        self.depth = 0  # number of context managers that are open, or being entered or left
        self.waiting: list[int] = []  # signals that wait
        self.n_interrupts = 0  # number of interrupts raised


_now = _Now()


def _begin() -> bool:
    """Handle the main thread's signals from here on; return whether this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return False
    try:
        for number, shield in _now.shields.items():
            now = _handler_now(number)
            if callable(now) and not (shield.installed and now == shield.handle):
                shield.installed = False
                # A new one: other handlers may pass on to the old one.
                _now.shields[number] = shield = _Shield(number)
                shield.install()
    except BaseException:  # the handler of a signal that was not shielded yet
        if not _now.depth:
            _remove()
        raise
    if not _now.depth:
        _now.waiting.clear()
    _now.depth += 1
    return True


def _end(counted: bool) -> None:
    if counted:
        _now.depth -= 1
        if not _now.depth:
            try:
                _remove()
            except BaseException:  # the handler of a signal that is not shielded any more
                _remove()
                raise


def _remove() -> None:
    for shield in _now.shields.values():
        shield.remove()


def uninterrupted(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function so that Ctrl+C does not interrupt it, but is raised at its end."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        counted = _begin()
        try:
            return function(*args, **kwargs)
        finally:
            _end(counted)
            if counted and _now.waiting and not _is_shielded(sys._getframe(1)):
                _raise_interrupt()

    return run


_RUN: CodeType = uninterrupted(len).__code__  # type: ignore[attr-defined]


def _is_shielded(frame: FrameType | None) -> bool:
    """Whether a frame is inside a function that must not be interrupted."""
    while frame is not None:
        if frame.f_code is _RUN:
            return True
        frame = frame.f_back
    return False


def _raise_interrupt() -> None:
    shield = _now.shields[_now.waiting.pop(0)]
    try:
        shield.interrupt(sys._getframe(2))
    finally:
        if _now.waiting:
            _raise_interrupt()


def raise_if_interrupted() -> None:
    """Raise an interrupt that waits; for use in a slow entry, before anything is registered."""
    if _now.waiting and threading.current_thread() is threading.main_thread():
        _raise_interrupt()


class Sheltered(AbstractContextManager[T], Generic[T]):
    """A context manager whose entry and exit Ctrl+C does not interrupt.

    An interrupt of other code inside may leave torch's settings of this thread changed (`no_grad`
    can be interrupted as it ends), so they are restored too.

    Args:
        make: makes the context manager that does the work.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[T]]):
        self._make = make

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """As a decorator: run the function inside."""

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with Sheltered(self._make):
                return function(*args, **kwargs)

        return run

    _entered = False

    def __enter__(self) -> T:
        try:
            return self._enter()
        except BaseException:  # perhaps an interrupt that waited until the entry was complete
            if self._entered:
                self.__exit__(*sys.exc_info())
            raise

    @uninterrupted
    def _enter(self) -> T:
        self._inner, self._counted = self._make(), _begin()
        self._grad, self._modes = torch.is_grad_enabled(), _modes()
        self._n_interrupts = _now.n_interrupts
        try:
            value = self._inner.__enter__()
        except BaseException:
            _end(self._counted)
            raise
        self._entered = True
        return value

    @uninterrupted
    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        self._entered = False
        interrupted = _now.n_interrupts != self._n_interrupts or (
            kind is not None and not issubclass(kind, Exception)
        )
        try:
            if interrupted:
                _leave_halfway(trace)
                _set_modes(self._modes)
            return self._inner.__exit__(kind, error, trace)
        finally:
            if interrupted:
                torch.set_grad_enabled(self._grad)
            _end(self._counted)


def sheltered(function: Callable[P, Iterator[T]]) -> Callable[P, Sheltered[T]]:
    """`contextlib.contextmanager`, with an entry and an exit that Ctrl+C does not interrupt. Both
    must be quick, since nothing can stop them."""
    make = contextmanager(function)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Sheltered[T]:
        return Sheltered(lambda: make(*args, **kwargs))

    return run


class Stack(ExitStack):
    """An ExitStack that Ctrl+C cannot leave with an entry half added."""

    enter_context = uninterrupted(ExitStack.enter_context)  # type: ignore[assignment]
    callback = uninterrupted(ExitStack.callback)  # type: ignore[assignment]


@sheltered
def stack() -> Iterator[Stack]:
    """An ExitStack that is unwound whatever Ctrl+C interrupts."""
    with Stack() as entered:
        yield entered


@sheltered
def together(*managers: AbstractContextManager[Any]) -> Iterator[None]:
    """Enter and leave all of these context managers, torch's for example, as one."""
    with ExitStack() as entered:
        for manager in managers:
            entered.enter_context(manager)
        yield


@sheltered
def taken(lock: Any) -> Iterator[bool]:
    """Take a lock if it is free, and release it at the end; yield whether it was free."""
    free = lock.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            lock.release()


# A thread that is started waits for its starter, which must not be interrupted in between.
start_thread = uninterrupted(threading.Thread.start)


@sheltered
def no_grad() -> Iterator[None]:
    """torch.no_grad(); Ctrl+C at its end does not leave gradients switched off."""
    with torch.no_grad():
        yield


@sheltered
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode while open, and then restore the mode of each."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        restore_modes(modes)


def restore_modes(modes: dict[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training


# Frames in which Ctrl+C finds a context manager of contextlib (torch's too) half entered or left.
_OF_CONTEXTLIB = contextlib._GeneratorContextManager
_HALFWAY = (_OF_CONTEXTLIB.__enter__.__code__, _OF_CONTEXTLIB.__exit__.__code__)


def _leave_halfway(trace: TracebackType | None) -> None:
    """Close the context managers that were interrupted while being entered or left. Otherwise their
    generators would do so when Python collects them, after everything else has been restored."""
    while trace is not None:
        if trace.tb_frame.f_code in _HALFWAY:
            trace.tb_frame.f_locals["self"].gen.close()
        trace = trace.tb_next


# -- function modes ------------------------------------------------------------------------------


def _modes() -> list[Any]:
    """This thread's function modes, the innermost last."""
    return torch.overrides._get_current_function_mode_stack()


def _set_modes(modes: list[Any]) -> None:
    """Restore the function modes: torch pops one while it handles a call, and Ctrl+C may prevent
    the push."""
    while torch._C._len_torch_function_stack():
        mode = torch.overrides._pop_mode()
        if isinstance(mode, Mode) and mode not in modes:
            mode.is_open = False
    for mode in modes:
        torch.overrides._push_mode(mode)


class Mode(torch.overrides.TorchFunctionMode):
    """A TorchFunctionMode that one hook enters and another leaves. If Ctrl+C comes in between, the
    context manager that is open around the pass leaves it."""

    is_open = False  # in any thread

    @uninterrupted
    def __enter__(self) -> Any:
        self.is_open = True
        return super().__enter__()

    @uninterrupted
    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.is_open = False
        if self in (modes := _modes()):
            _set_modes(modes[: modes.index(self)])
