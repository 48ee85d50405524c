"""Number traits of views: they refuse bools, and numbers outside a range if there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets as t


class _Number(t.TraitType):
    """Base class of number traits, with an optional range.

    Args:
        below: view -> n, for values 0 … n − 1.
        within: the smallest and the largest value.
    """

    def __init__(
        self,
        *args: Any,
        below: Callable[[Any], int] | None = None,
        within: tuple[float, float] | None = None,
        **options: Any,
    ):
        super().__init__(*args, **options)
        self._below, self._within = below, within

    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, bool):
            self.error(obj, value)
        value = super().validate(obj, value)  # pyright: ignore[reportAttributeAccessIssue]
        least, most = (0, self._below(obj) - 1) if self._below else self._within or (None, None)
        if None not in (value, least) and not least <= value <= most:
            raise t.TraitError(f"{self.name}={value} is outside {least} … {most}")
        return value


class Int(_Number, t.Int):
    """A whole number; unlike traitlets' Int, it does not accept True as 1."""


class Float(_Number, t.Float):
    """A number; unlike traitlets' Float, it does not accept True as 1.0."""
