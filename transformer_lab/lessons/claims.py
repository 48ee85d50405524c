"""Claims: what the text says, measured in the cell below it, and false claims fail the notebook."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from transformer_lab.lessons.cards import Card, Shown

CLAIM_MIME = (
    "application/vnd.transformer-lab.claim+json"  # a claim's numbers in a notebook's output
)


class ClaimFailed(AssertionError):
    """A claim of the text is not what was measured. Shown in one line, with no stack."""

    def _render_traceback_(self) -> list[str]:  # IPython's hook for a short error
        return [f"ClaimFailed: {self}"]


@dataclass(frozen=True, repr=False)
class Claim(Shown):
    """A claim that holds, or (`holds` is None) one that was not judged and says why."""

    text: str
    measured: float
    condition: str
    holds: bool | None
    reason: str = ""
    null: float | None = None

    def card(self) -> Card:
        if self.holds is None:
            return Card("wait", self.text, [f"Not judged here: {self.reason}"])
        shown = f"measured {number(self.measured)} · {self.condition}"
        if self.null is not None:
            shown += f" · without it {number(self.null)}"
        return Card("good", self.text, aside=shown)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        numbers = {"condition": self.condition}
        if self.holds is not None:
            numbers |= {"measured": self.measured, "control": self.null}
        return super()._repr_mimebundle_() | {CLAIM_MIME: numbers}


def number(value: float) -> str:
    """A measured number as a person would write it: four significant digits, no needless zeros."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        short = f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
        sign, digits = ("−", short[1:]) if short.startswith("-") else ("", short)
        return sign + (digits[1:] if digits.startswith("0.") else digits)
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
    null: object = None,
    when: bool = True,
    otherwise: str = "its condition is not met",
) -> Claim:
    """Show a sentence of the lesson beside the number that was measured, and assert it.

    Args:
        text: the claim in plain words.
        measured: one number (a 0-dimensional tensor will do).
        at_least, at_most: bounds, inclusive; both together make a range.
        close_to, tolerance: the expected value and the largest allowed distance from it.
        null: what a model (or a text, or a choice) gives that has nothing of what is claimed: one
            that guesses, is untrained, is cut at random. It is shown as "without it", and has to
            lie outside the bounds, for else the claim would say nothing.
        when: False leaves the claim unjudged and shows `otherwise`; for instance after a training
            that somebody stopped.
        otherwise: why the claim was not judged.

    Returns:
        A Claim, which a notebook shows as a card.

    Raises:
        ClaimFailed: the measured number is outside the bounds, or is not finite; or `null` is not
            outside them.
        TypeError, ValueError: the number or the bounds make no claim.
    """
    bounds = {"at_least": at_least, "at_most": at_most, "close_to": close_to}
    given = {name: _as_number(bound, name) for name, bound in bounds.items() if bound is not None}
    if not given:
        raise ValueError("a claim needs at_least=, at_most=, or close_to= with tolerance=")
    for name, bound in given.items():
        if not math.isfinite(bound):
            raise ValueError(f"{name}={bound} bounds nothing; give a finite number")
    if "close_to" in given and len(given) > 1:
        raise ValueError("give close_to= with tolerance=, or at_least=/at_most=, not both")
    if ("close_to" in given) != (tolerance is not None):
        raise ValueError("close_to= and tolerance= belong together; give both")
    if tolerance is not None and not 0 <= _as_number(tolerance, "tolerance") < math.inf:
        raise ValueError(f"tolerance={tolerance} must be a finite number, 0 or more")

    condition = _condition(given, tolerance)
    if not when:
        return Claim(text, math.nan, condition, None, otherwise)
    value = _as_number(measured, "measured")
    if not math.isfinite(value):
        raise ClaimFailed(f"{text}: measured {value}, which is not a finite number")
    if not _inside(value, given, tolerance):
        raise ClaimFailed(f"{text}: measured {number(value)}, but it should be {condition}")
    if null is None:
        return Claim(text, value, condition, True)
    without = _as_number(null, "null")
    if not math.isfinite(without):
        raise ClaimFailed(f"{text}: null={without} is not a finite number")
    if _inside(without, given, tolerance):
        raise ClaimFailed(
            f"{text}: measured {number(value)}, but without it {number(without)} is as much "
            f"{condition}: nothing is shown"
        )
    return Claim(text, value, condition, True, null=without)


def _inside(value: float, given: dict[str, float], tolerance: float | None) -> bool:
    if "close_to" in given:
        return abs(value - given["close_to"]) <= float(tolerance or 0.0)
    return given.get("at_least", -math.inf) <= value <= given.get("at_most", math.inf)


def _condition(given: dict[str, float], tolerance: float | None) -> str:
    if "close_to" in given:
        expected = number(given["close_to"])
        return f"within {number(float(tolerance))} of {expected}" if tolerance else expected
    if len(given) == 2:
        return f"between {number(given['at_least'])} and {number(given['at_most'])}"
    name, bound = next(iter(given.items()))
    return f"{name.replace('_', ' ')} {number(bound)}"
