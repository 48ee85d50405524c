"""Arguments held against their annotations, so that a wrong type is named where it is given.

Python takes "yes" for true, True for 1 and 2.0 for 2, and says so only deep inside a model, or
never. What a person gives (a field of a configuration, an argument of a data set, a key of a TOML
file) is checked here instead, by the annotation that it has anyway.
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

_LARGEST = 2**63  # what torch and NumPy hold in a whole number
_UNIONS = (Union, types.UnionType)
_PATHS = (Path, os.PathLike)


@dataclass(frozen=True)
class AtLeast:
    """The least value of an annotation: ``Annotated[int, AtLeast(0)]``."""

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
    """A value for a message: its repr on one line, however large or deep it is."""
    return " ".join(_Shown().repr(value).split())


def wrong(value: Any, hint: Any, *, infinite: bool = False) -> str | None:
    """What a value must be to suit an annotation, in words; None where it suits.

    A whole number suits `float`, but neither True nor 2.0 suits `int`. Numbers must be finite and
    whole ones below 2^63. What an annotation says beyond this module's words is not checked.

    Args:
        infinite: whether ±infinity suits `float`.
    """
    kinds = _kinds(hint)
    if any(_suits(value, kind, infinite) for kind in kinds):
        return None
    return " or ".join(dict.fromkeys(_words(value, kind) for kind in kinds))


def check(name: str, value: Any, hint: Any, *, infinite: bool = False) -> Any:
    """The value, with NumPy's numbers and arrays as Python's, which JSON and torch take.

    Raises:
        ValueError: for a value that does not suit the annotation, naming both.
    """
    must_be = wrong(value, hint, infinite=infinite)
    if must_be:
        raise ValueError(f"{name} must be {must_be}, got {shown(value)}")
    return _plain(value, {get_origin(kind) for kind in _kinds(hint)})


def check_fields(instance: Any, *, infinite: Collection[str] = ()) -> None:
    """Check every field of a dataclass; None is right where it is the default.

    Raises:
        ValueError: for a field of a wrong type.
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
    """Check the arguments of a call; returns them as `check` does.

    Args:
        given: by name; those that the function does not annotate are left alone.
        names: what is written in the annotations but not imported in the function's module.

    Raises:
        ValueError: for an argument of a wrong type.
    """
    hints = type_hints(function, **names)
    return {
        name: check(name, value, hints[name], infinite=name in infinite) if name in hints else value
        for name, value in given.items()
    }


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose arguments are checked at each call; see `check_call`."""
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
    """What is said of a name that is not known: the nearest one, and all."""
    longer = sorted((one for one in known if name in one), key=len)
    near = longer or difflib.get_close_matches(name, known, 1, 0.5)
    nearest = f"did you mean {near[0]!r}? " if near else ""
    return f"{shown(name)}; {nearest}known: {', '.join(known)}"


def names_options(cls: type[R]) -> type[R]:
    """A dataclass whose constructor names the nearest option for one that is not known."""
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
    """The same for an annotation without brackets."""
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
    except TypeError:  # a protocol that cannot be asked
        return True


def _is_number(value: Any, infinite: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    if isinstance(value, numbers.Integral):
        return -_LARGEST <= int(value) < _LARGEST
    number = float(value)
    return math.isfinite(number) or (infinite and math.isinf(number))


def _is_list(value: Any) -> bool:
    """Whether it is a row of values with a length: a list, tuple, range or array."""
    if isinstance(value, str | bytes | bytearray | Mapping):
        return False
    try:
        len(value)  # which an array without axes has not
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
    """An annotation in words, for a value that does not suit it."""
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
