"""What a PositionView shows, in plain words and numbers. The counterpart of positions/words.js."""

from __future__ import annotations

import math

from ..shared.messages import short
from .schemes import PositionFacts, known

NO_CHANGE = 5e-5  # below this a change of a weight is nothing but rounding


def tiny(value: float) -> str:
    """A number near nothing, by its power of ten. The browser computes closed forms too: where one
    side finds exactly 0, the other may find 1e-17."""
    if value < 1e-9:
        return "below 1e−9"
    power = math.floor(math.log10(value))
    digit = int(value / 10**power + 0.5)
    if digit == 10:
        digit, power = 1, power + 1
    return f"{digit}e−{-power}"


def change_sentence(facts: PositionFacts) -> str:
    same, none = facts.largest < NO_CHANGE, facts.scheme == "none"
    if facts.test == "move":
        if facts.shift == 0:
            return "Move the words to see what changes."
        start = f"Moving the words by {facts.shift} changes"
        if same:
            why = "positions do not count" if none else "only distances count"
            return f"{start} no weight (largest change: {tiny(facts.largest)}): {why}."
        return (
            f"{start} a weight by up to {short(facts.largest)}: places count, not distances alone."
        )
    if same:
        return (
            "Shuffled, every word gives every other the same weight as before (largest change: "
            f"{tiny(facts.largest)}): the order is not seen."
        )
    mask = ", but only by the causal mask" if none and facts.causal else ""
    return f"Shuffled, a weight changes by up to {short(facts.largest)}: the order is seen{mask}."


def position_sentence(facts: PositionFacts) -> str:
    return f"{known(facts.scheme).sentence(facts)} {change_sentence(facts)}"
