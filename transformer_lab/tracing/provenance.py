"""Provenance of a result, so that it can be computed again: the call, its model and its inputs."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from ..adapters.linear import times_written
from ..adapters.lookup import network_of
from ..attention import Tap
from .gradients import Logit
from .trace import Trace

P = ParamSpec("P")
R = TypeVar("R")

MOST = 100_000  # numbers of a tensor that can be stored
WITHOUT = ("progress", "out")  # arguments that do not change the result
_TYPES = (None.__class__, bool, int, str)


class NotHeldError(ValueError):
    """Raised for an argument that cannot be stored as JSON."""


@dataclass(frozen=True, eq=False)
class Provenance:
    """One call.

    function: its name in `tl`. model: as passed. arguments: name -> value as JSON.
    why_not: why it cannot be repeated; "" if it can.
    """

    function: str
    model: Any
    arguments: Mapping[str, Any]
    why_not: str
    changes: int  # of the model's weights, up to the call

    @property
    def module(self) -> Any:
        """The torch module."""
        return network_of(self.model).module

    def as_call_of(self, function: str, more: Mapping[str, Any]) -> Provenance:
        """Return the call of another function, with further arguments, that computes a part of this
        one's result."""
        values = {name: held(value) for name, value in more.items() if value is not None}
        return replace(self, function=function, arguments={**self.arguments, **values})

    @property
    def changed(self) -> bool:
        """Whether the model's weights have been changed since."""
        return _changes(self.module) != self.changes


def finding(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function of a model to record its call in the `provenance` of its result."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs).arguments
        model, given = bound.pop("model"), {**bound.pop("given", {}), **bound}
        found = function(*args, **kwargs)
        made = _made(function.__name__, model, given)
        for one in (found, *getattr(found, "grids", {}).values()):
            object.__setattr__(one, "provenance", made)
        return found

    return call


def held(value: Any) -> Any:
    """Convert an argument to JSON that `given` reads.

    Raises:
        NotHeldError: for a function, an image, a large tensor; its message describes the value.
    """
    if isinstance(value, _TYPES) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return [held(one) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [held(one) for one in value]}
    if isinstance(value, Logit):
        return {"logit": [held(x) for x in (value.token, value.against, value.position)]}
    if isinstance(value, Tensor):
        if value.numel() > MOST:
            raise NotHeldError(f"a tensor of {value.numel():,} numbers")
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {"table": {name: held(one) for name, one in value.items()}}
    name = getattr(value, "__name__", type(value).__name__)
    raise NotHeldError(f"a function of your own ({name})" if callable(value) else f"a {name}")


def given(value: Any) -> Any:
    """Convert JSON back to the argument that `held` made it from.

    Raises:
        ValueError: if `held` did not make it.
    """
    if isinstance(value, list):
        return [given(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    kind, *rest = value
    if kind == "tuple" and not rest:
        return tuple(given(one) for one in value[kind])
    if kind == "table" and not rest:
        return {name: given(one) for name, one in value[kind].items()}
    if kind == "logit" and not rest:
        return Logit(*value[kind])
    if kind == "tensor" and rest == ["dtype"]:
        dtype = getattr(torch, str(value["dtype"]), None)
        if isinstance(dtype, torch.dtype):
            return torch.tensor(value[kind], dtype=dtype)
    raise ValueError(f"{kind!r} is not an argument that a report can hold")


def code(value: Any) -> str:
    """Write JSON made by `held` as a Python expression."""
    if isinstance(value, list):
        return f"[{', '.join(map(code, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if value.isprintable() else repr(value)
    if not isinstance(value, Mapping):
        return repr(value)
    kind = next(iter(value))
    if kind == "tuple":
        inside = ", ".join(map(code, value[kind]))
        return f"({inside},)" if len(value[kind]) == 1 else f"({inside})"
    if kind == "table":
        return f"{{{', '.join(f'{code(k)}: {code(v)}' for k, v in value[kind].items())}}}"
    if kind == "logit":
        return f"tl.Logit({', '.join(map(code, value[kind]))})"
    return f"torch.tensor({value[kind]}, dtype=torch.{value['dtype']})"


def _made(function: str, model: Any, given: Mapping[str, Any]) -> Provenance:
    arguments, why_not = {}, ""
    for name, value in given.items():
        if name in WITHOUT:
            continue
        try:
            arguments[name] = held(value)
        except NotHeldError as error:
            why_not = f"{name} is {error}, which a report cannot hold"
    if isinstance(model, Trace):
        model, why_not = (
            model.model,
            "it was computed from a trace; give the model and its text instead",
        )
    elif network_of(model).edited_beside(Tap()):
        why_not = (
            "the model was edited when this was computed, and a report describes the unedited model"
        )
    return Provenance(function, model, arguments, why_not, _changes(network_of(model).module))


def _changes(module: Any) -> int:
    """How often the weights have been changed."""
    return sum(map(times_written, (*module.parameters(), *module.buffers())))
