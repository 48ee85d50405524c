"""The numbers that a view's traits hold: never a bool, and in a range where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets as t


class _Number(t.TraitType):
    """
    Args:
        below: view -> how many values there are, 0 … n − 1.
    """

    def __init__(self, *args: Any, below: Callable[[Any], int] | None = None, **options: Any):
        super().__init__(*args, **options)
        self._below = below

    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, bool):
            self.error(obj, value)
        value = super().validate(obj, value)  # pyright: ignore[reportAttributeAccessIssue]
        if self._below is not None and value is not None:
            n = self._below(obj)
            if not 0 <= value < n:
                raise t.TraitError(f"{self.name}={value} is outside 0 … {n - 1}")
        return value


class Int(_Number, t.Int):
    """A whole number; traitlets takes True for 1."""


class Float(_Number, t.Float):
    """A number; traitlets takes True for 1.0."""
