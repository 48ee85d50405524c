"""What a PositionView shows, in plain words and numbers. The counterpart of static/position_words.js."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .words import short

NO_CHANGE = 5e-5  # below this a change of a weight is nothing but rounding


@dataclass(frozen=True)
class PositionFacts:
    """What a sentence is made from.

    own: whether it is the scheme of the model that was given; name: of that model, or nothing;
    width: numbers of a position, or in a query and key; largest: change of a weight.
    """

    scheme: str
    own: bool
    name: str
    width: int
    head: int
    slope: float
    causal: bool
    test: str
    shift: int
    largest: float


def tiny(value: float) -> str:
    """A number near nothing, by its power of ten."""
    if value == 0:
        return "0"
    if value < 1e-9:
        return "below 1e-9"
    power = math.floor(math.log10(value))
    digit = int(value / 10**power + 0.5)
    if digit == 10:
        digit, power = 1, power + 1
    return f"{digit}e{power}"


def change_text(value: float) -> str:
    """A change of a weight."""
    return tiny(value) if value < NO_CHANGE else short(value)


def scheme_sentence(facts: PositionFacts) -> str:
    random = ", as training left it" if facts.own else ", here random, as before training"
    if facts.scheme == "none":
        if facts.name and not facts.own:
            out = f"{facts.name} with its positions taken out"
            return f"{out}: nothing is added, nothing is turned."
        return "No positions: nothing is added, nothing is turned."
    return {
        "sinusoidal": f"Sinusoidal: each position adds its own {facts.width} sines and cosines.",
        "learned": f"Learned: each position adds a vector of {facts.width} numbers{random}.",
        "rotary": f"Rotary: each position turns the {facts.width // 2} pairs of a query and of a "
        "key by its own angles.",
        "alibi": f"ALiBi: head {facts.head} takes {facts.slope:.4f} off a score for every token of "
        "distance.",
        "relative": f"T5 relative: by distance, head {facts.head} adds a number to a score{random}.",
    }[facts.scheme]


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
    return f"{scheme_sentence(facts)} {change_sentence(facts)}"
