"""Claims of the text, measured in the cell below it. A false claim fails the notebook."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from transformer_lab.lessons.cards import Card, Shown

CLAIM_MIME = (
    "application/vnd.transformer-lab.claim+json"  # a claim's numbers in a notebook's output
)


class ClaimFailed(AssertionError):
    """A claim does not match the measurement. Shown in one line, without a stack trace."""

    def _render_traceback_(self) -> list[str]:  # IPython's hook for a short error
        return [f"ClaimFailed: {self}"]


@dataclass(frozen=True, repr=False)
class Claim(Shown):
    """A claim that holds, or (`holds` is None) one that was not judged, with the reason."""

    text: str
    measured: float
    bound: str
    holds: bool | None
    reason: str = ""
    control: tuple[str, float] | None = None

    def card(self) -> Card:
        if self.holds is None:
            return Card("wait", self.text, [f"Not judged here: {self.reason}"])
        fields = {"measured": number(self.measured), "bound": self.bound}
        if self.control is not None:
            name, value = self.control
            fields["control"] = f"{number(value)} ({name})"
        return Card("good", self.text, fields=fields)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        numbers: dict[str, Any] = {"bound": self.bound}
        if self.holds is not None:
            control = self.control[1] if self.control else None
            numbers |= {"measured": self.measured, "control": control}
        return super()._repr_mimebundle_() | {CLAIM_MIME: numbers}


def number(value: float) -> str:
    """Format a measured number with at most four significant digits: 0.93, 12,346, 2.4e−7."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return (f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}").replace("-", "−")
    digits, power = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(power)}".replace("-", "−")


def _as_number(measured: object, name: str) -> float:
    try:
        return float(measured)  # type: ignore[arg-type]  # tensors, numpy scalars, numbers
    except (TypeError, ValueError, RuntimeError):
        kind = type(measured).__name__
        raise TypeError(
            f"{name} must be one number, not a {kind}; reduce it first, for instance with .mean()"
        ) from None


def claim(
    text: str,
    measured: object,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    close_to: float | None = None,
    tolerance: float | None = None,
    control: tuple[str, object] | None = None,
    when: bool = True,
    otherwise: str = "its condition is not met",
) -> Claim:
    """Assert a claim of the lesson, and show it with its measured value, bound and control.

    Args:
        text: the claim in plain words.
        measured: one number, which may be a 0-dimensional tensor.
        at_least, at_most: bounds, inclusive; both together make a range.
        close_to, tolerance: the expected value and the largest allowed distance from it.
        control: (what it is, its value), such as ("an untrained model", 0.04): the same
            measurement where the claimed effect is absent. It must lie outside the bounds. A value
            of None means that it was not measured in this run.
        when: False leaves the claim unjudged and shows `otherwise`; for instance after a training
            run that was stopped early.
        otherwise: why the claim was not judged.

    Returns:
        A Claim, which a notebook shows as a card.

    Raises:
        ClaimFailed: the measured number is outside the bounds or not finite, or the control is
            within them.
        TypeError, ValueError: the number, the bounds or the control are invalid.
    """
    bounds = {"at_least": at_least, "at_most": at_most, "close_to": close_to}
    given = {name: _as_number(bound, name) for name, bound in bounds.items() if bound is not None}
    if not given:
        raise ValueError("a claim needs at_least=, at_most=, or close_to= with tolerance=")
    if control is not None and not (
        isinstance(control, tuple)
        and len(control) == 2
        and isinstance(control[0], str)
        and control[0].strip()
    ):
        raise ValueError('control= must be (what it is, its value): ("an untrained model", 0.04)')
    for name, limit in given.items():
        if not math.isfinite(limit):
            raise ValueError(f"{name} must be a finite number, got {limit}")
    if "close_to" in given and len(given) > 1:
        raise ValueError("give close_to= with tolerance=, or at_least=/at_most=, not both")
    if ("close_to" in given) != (tolerance is not None):
        raise ValueError("close_to= and tolerance= belong together; give both")
    if tolerance is not None and not 0 <= _as_number(tolerance, "tolerance") < math.inf:
        raise ValueError(f"tolerance={tolerance} must be a finite number, 0 or more")

    bound = _bound(given, tolerance)
    if not when:
        return Claim(text, math.nan, bound, None, otherwise)
    value = _as_number(measured, "measured")
    if not math.isfinite(value):
        raise ClaimFailed(f"{text}: measured {value}, which is not a finite number")
    if not _inside(value, given, tolerance):
        raise ClaimFailed(f"{text}: measured {number(value)}, but it should be {bound}")
    if control is None or control[1] is None:
        return Claim(text, value, bound, True)
    name, without = control[0], _as_number(control[1], "the value of control=")
    if not math.isfinite(without):
        raise ClaimFailed(f"{text}: its control ({name}) must be a finite number, got {without}")
    if _inside(without, given, tolerance):
        raise ClaimFailed(
            f"{text}: measured {number(value)}, but its control ({name}) is {number(without)}, "
            f"which is {bound} too, so the claim shows nothing"
        )
    return Claim(text, value, bound, True, control=(name, without))


def _inside(value: float, given: dict[str, float], tolerance: float | None) -> bool:
    if "close_to" in given:
        return abs(value - given["close_to"]) <= float(tolerance or 0.0)
    return given.get("at_least", -math.inf) <= value <= given.get("at_most", math.inf)


def _bound(given: dict[str, float], tolerance: float | None) -> str:
    if "close_to" in given:
        expected = number(given["close_to"])
        return f"within {number(float(tolerance))} of {expected}" if tolerance else expected
    if len(given) == 2:
        return f"between {number(given['at_least'])} and {number(given['at_most'])}"
    name, limit = next(iter(given.items()))
    return f"{name.replace('_', ' ')} {number(limit)}"
