"""Check arguments against their annotations, so that a wrong type is reported where it is passed.

Python accepts "yes" as true, True as 1 and 2.0 as 2, and fails deep inside a model, or never. So
what users pass (a field of a configuration, an argument of a dataset, a key of a TOML file) is
checked here, against the annotation that it has anyway.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import os
import reprlib
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as _get_type_hints

P = ParamSpec("P")
R = TypeVar("R")

_LARGEST = 2**63  # torch and NumPy hold whole numbers below this
_UNIONS = (Union, types.UnionType)
_PATHS = (Path, os.PathLike)


@dataclass(frozen=True)
class AtLeast:
    """The lowest value that an annotation allows: ``Annotated[int, AtLeast(0)]``."""

    least: int


Seed = Annotated[int, AtLeast(0)]


class _Shown(reprlib.Repr):
    def __init__(self):
        super().__init__()
        self.maxstring = self.maxother = 80

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write out a number of more than 4300 digits.
        return "a number of many digits" if abs(x) >= 10**40 else repr(x)


def shown(value: Any) -> str:
    """Return a value's repr for a message: one line, shortened if the value is large or deep."""
    return " ".join(_Shown().repr(value).split())


def said_by(error: BaseException) -> str:
    """Return the first line of an error's message; its type if it has none, or cannot be written."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        lines = []
    return lines[0] if lines else type(error).__name__


def wrong(value: Any, hint: Any, *, infinite: bool = False) -> str | None:
    """Say in words what a value must be to match an annotation; return None if it matches.

    A whole number matches `float`, but neither True nor 2.0 matches `int`. Numbers must be finite,
    and whole ones below 2^63. Whatever else an annotation says is not checked.

    Args:
        infinite: whether ±infinity matches `float`.
    """
    kinds = _kinds(hint)
    if any(_suits(value, kind, infinite) for kind in kinds):
        return None
    return " or ".join(dict.fromkeys(_words(value, kind) for kind in kinds))


def check(name: str, value: Any, hint: Any, *, infinite: bool = False) -> Any:
    """Return the value, with NumPy's numbers and arrays as Python's, which JSON and torch accept.

    Raises:
        ValueError: if the value does not match the annotation; the message names both.
    """
    must_be = wrong(value, hint, infinite=infinite)
    if must_be:
        raise ValueError(f"{name} must be {must_be}, got {shown(value)}")
    return _plain(value, {get_origin(kind) for kind in _kinds(hint)})


def check_fields(instance: Any, *, infinite: Collection[str] = ()) -> None:
    """Check every field of a dataclass; None is accepted where it is the default.

    Raises:
        ValueError: if a field has the wrong type.
    """
    hints = type_hints(type(instance))
    for one in fields(instance):
        value = getattr(instance, one.name)
        if value is None and one.default is None:
            continue
        plain = check(one.name, value, hints[one.name], infinite=one.name in infinite)
        if plain is not value:
            object.__setattr__(instance, one.name, plain)


def check_call(
    function: Callable, given: Mapping[str, Any], *, infinite: Collection[str] = (), **names: Any
) -> dict[str, Any]:
    """Check the arguments of a call, and return them as `check` does.

    Args:
        given: arguments by name; those without an annotation are left alone.
        names: what the annotations use but the function's module does not import.

    Raises:
        ValueError: if an argument has the wrong type.
    """
    hints = type_hints(function, **names)
    return {
        name: check(name, value, hints[name], infinite=name in infinite) if name in hints else value
        for name, value in given.items()
    }


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that each call checks its arguments; see `check_call`."""
    signature = inspect.signature(function)
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    single = {name for name, p in signature.parameters.items() if p.kind not in several}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own message names the function
        given = {name: bound.arguments[name] for name in bound.arguments if name in single}
        bound.arguments.update(check_call(function, given))
        return function(*bound.args, **bound.kwargs)

    return call


@functools.cache
def _hints(thing: Any, names: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    return _get_type_hints(thing, localns=dict(names) or None, include_extras=True)


def type_hints(thing: Any, **names: Any) -> dict[str, Any]:
    """The annotations of a function or class, evaluated once."""
    return _hints(inspect.unwrap(thing), tuple(names.items()))


def unknown(name: str, known: Collection[str]) -> str:
    """Describe an unknown name for a message: the name, the nearest known one, and all of them."""
    longer = sorted((one for one in known if name in one), key=len)
    near = longer or difflib.get_close_matches(name, known, 1, 0.5)
    nearest = f"did you mean {near[0]!r}? " if near else ""
    return f"{shown(name)}; {nearest}known: {', '.join(known)}"


def names_options(cls: type[R]) -> type[R]:
    """Decorate a dataclass so that an unknown option raises an error that names the nearest one."""
    init, known = cls.__init__, [one.name for one in fields(cls)]  # pyright: ignore[reportArgumentType]

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **values: Any) -> None:
        for name in values:
            if name not in known:
                raise TypeError(f"{cls.__name__} has no option {unknown(name, known)}")
        init(self, *args, **values)

    cls.__init__ = __init__
    return cls


# ---------------------------------------------------------------- one annotation


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in _UNIONS else (hint,)


def _suits(value: Any, kind: Any, infinite: bool) -> bool:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        least = next((m.least for m in args[1:] if isinstance(m, AtLeast)), None)
        return _suits(value, args[0], infinite) and (least is None or value >= least)
    if origin in _UNIONS:
        return any(_suits(value, one, infinite) for one in args)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in args)
    if origin is Callable:
        return callable(value)
    if origin is tuple:
        return _is_list(value) and _items_suit(value, args, infinite)
    if origin is Iterable:
        return isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if origin in (Sequence, list):
        return _is_list(value) and all(_suits(one, args[0], infinite) for one in value)
    if origin in (Mapping, dict):
        return isinstance(value, Mapping)
    return _is_a(value, kind, infinite)


def _plain(value: Any, origins: set[Any]) -> Any:
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return value if type(value) is int else int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return value if type(value) is float else float(value)
    if tuple in origins and _is_list(value) and not isinstance(value, tuple):
        return tuple(_plain(one, set()) for one in value)
    if Sequence in origins and _is_list(value) and not isinstance(value, Sequence):
        return [_plain(one, set()) for one in value]
    return value


def _is_a(value: Any, kind: Any, infinite: bool) -> bool:
    """Whether a value matches an annotation without brackets."""
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return whole and -_LARGEST <= int(value) < _LARGEST
    if kind is float:
        return _is_number(value, infinite)
    if kind is None or kind is type(None):
        return value is None
    if kind in _PATHS:
        return isinstance(value, os.PathLike)
    try:
        return isinstance(value, kind) if isinstance(kind, type) else True
    except TypeError:  # a protocol that isinstance cannot check
        return True


def _is_number(value: Any, infinite: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    if isinstance(value, numbers.Integral):
        return -_LARGEST <= int(value) < _LARGEST
    number = float(value)
    return math.isfinite(number) or (infinite and math.isinf(number))


def _is_list(value: Any) -> bool:
    """Whether it is a sequence with a length: a list, tuple, range or array."""
    if isinstance(value, str | bytes | bytearray | Mapping):
        return False
    try:
        len(value)  # an array without axes has none
    except TypeError:
        return False
    return hasattr(value, "__getitem__")


def _items_suit(value: Any, args: tuple[Any, ...], infinite: bool) -> bool:
    if len(args) == 2 and args[1] is ...:
        return all(_suits(one, args[0], infinite) for one in value)
    pairs = zip(value, args, strict=False)
    return len(value) == len(args) and all(_suits(one, kind, infinite) for one, kind in pairs)


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def _words(value: Any, kind: Any) -> str:
    """An annotation in words, for a value that does not match it."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{_words(value, args[0])} of at least {args[1].least}"
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin is tuple:
        many = f"{len(args)} values, " if ... not in args else ""
        return f"a list ({many}{_words(None, args[0])} each)"
    if origin in (Sequence, list, Iterable):
        return f"a list ({_words(None, args[0])} each)"
    if origin in (Mapping, dict):
        return "a table of names and values"
    if origin is Callable:
        return "a function"
    if kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        return "a finite number"
    if kind is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return "a whole number below 2^63"
    if kind is None or kind is type(None):
        return "None"
    if kind in _PATHS:
        return "a path"
    return _WORDS.get(kind) or f"a {getattr(kind, '__name__', kind)}"
