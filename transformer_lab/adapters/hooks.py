"""Hooks of this package on a model's modules, which a copy of the model leaves out.

A deep copy or a pickle of a model that is being traced or edited is the model without our hooks.
The exception is the copy that is traced in place of a model in training (`copy_with_edits`).
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import nn

from .interrupts import sheltered

SESSION = "_transformer_lab_session"  # where a transformers model holds the session of its taps
NAMED = "_transformer_lab_named"  # where the module of a NamedNetwork does
_REDUCE = "__reduce_ex__"  # copies and pickles look for it on the module before its class
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_NOTES = (
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
_lock = threading.RLock()
_here = threading.local()


class Taps(tuple):
    """The taps on one of our modules; a copy has none."""

    def __deepcopy__(self, memo: dict) -> tuple:
        return self if _keeps_edits() else ()

    def __reduce__(self):
        return tuple, ()


class _Ours(partial):
    """A function that this package has hooked."""


class Passes(list):
    """The passes of a model during `tl.edit`, counted by a hook on it."""

    def __call__(self, *_: Any) -> None:
        self.append(1)


def is_edited(module: nn.Module) -> bool:
    """Whether a `tl.edit` of this model is open."""
    hooks = module._forward_pre_hooks.values()
    return any(isinstance(call, _Ours) and isinstance(call.func, Passes) for call in hooks)


def hooked_everywhere() -> bool:
    """Whether a function is hooked on every module there is."""
    return any(vars(nn.modules.module)[f"_global{name}"] for name in _HOOKS)


def foreign_hooks(module: nn.Module) -> bool:
    """Whether other code has hooked a module. Hooks of transformers and PEFT capture outputs, or
    make them require gradients; they change no number."""
    own = (call for name in _HOOKS for call in getattr(module, name).values())
    return any(
        not isinstance(call, _Ours)
        and (getattr(call, "__module__", "") or "").split(".")[0] not in ("transformers", "peft")
        for call in own
    )


class Hook:
    """A hook of ours on a module, until `remove`."""

    def __init__(self, module: nn.Module, handle: Any):
        self._module, self._handle = module, handle

    def remove(self) -> None:
        with _lock:
            self._handle.remove()
            release(self._module)


def hook(module: nn.Module, call: Callable[..., Any], *, before: bool = False, **how: Any) -> Hook:
    """Register a function as a forward hook, or (before) as a forward pre-hook; `how` are torch's
    options."""
    register: Any = module.register_forward_pre_hook if before else module.register_forward_hook
    with _lock:
        handle = register(_Ours(call), **how)
        claim(module)
        return Hook(module, handle)


@sheltered
def hooked(*hang: Callable[[], Hook]) -> Iterator[None]:
    """Register the hooks of these functions while open."""
    hooks: list[Hook] = []
    try:
        for one in hang:
            hooks.append(one())
        yield
    finally:
        remove_all(hooks)


def remove_all(hooks: list[Hook]) -> None:
    while hooks:
        hooks.pop().remove()


def claim(module: nn.Module) -> None:
    """Make copies of the module leave out what is ours."""
    module.__dict__.setdefault(_REDUCE, partial(_reduced, module))


def release(module: nn.Module) -> None:
    """Undo `claim`, if nothing of ours is left on the module."""
    own = module.__dict__
    if not (SESSION in own or NAMED in own) and not any(
        isinstance(call, _Ours) for name in _HOOKS if own[name] for call in own[name].values()
    ):
        own.pop(_REDUCE, None)


def copy_with_edits(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy with every hook and tap that is on the module."""
    _here.keeps_edits = True
    try:
        return copy.deepcopy(module, memo)
    finally:
        _here.keeps_edits = False


def _keeps_edits() -> bool:
    return getattr(_here, "keeps_edits", False)


def _reduced(module: nn.Module, protocol: Any) -> tuple:
    """What `__reduce_ex__` returns, without our hooks unless edits are kept."""
    make, given, state, *rest = type(module).__reduce_ex__(module, protocol)
    return (make, given, state if _keeps_edits() else _clean(state), *rest)


def _clean(state: Any) -> Any:
    if not isinstance(state, dict):  # the module's class defines its state
        return state
    session: Any = state.get(SESSION)
    state = {n: x for n, x in state.items() if n not in (_REDUCE, SESSION, NAMED)}
    for name in _HOOKS:
        hooks = state[name]
        theirs = [(key, call) for key, call in hooks.items() if not isinstance(call, _Ours)]
        state[name] = type(hooks)(theirs)
    kept = {key for name in _HOOKS for key in state[name]}
    for name in _NOTES:
        notes = state[name]
        state[name] = type(notes)((key, value) for key, value in notes.items() if key in kept)
    if "config" in state and hasattr(session, "config_of_copies"):
        state["config"] = session.config_of_copies(state["config"])
    return state
