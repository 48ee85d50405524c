"""What is seen in a picture, in plain words and numbers. The counterpart of words.js."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...tracing.packing import WEIGHT_SCALE
from ..shared.map_sentences import EVEN
from ..shared.messages import short

NAMED = 3  # patches in the sentence
LEAST = 0.005  # of a row, below which what is lacking may be rounding


@dataclass(frozen=True)
class Look:
    """One row of a head's map: `codes` are its weights in 16 bits, as the browser has them."""

    layer: int
    head: int
    query: int
    labels: Sequence[str]
    start: int  # the position of the first patch
    n: int  # how many patches there are
    codes: np.ndarray
    others: str = ""  # what the positions are called that are no patches, where that is told
    padded: bool = False  # whether its window may reach beyond the picture, which takes its share


def weight_of(code: int) -> float:
    return 0.0 if code == 0 else 1.0 if code >= WEIGHT_SCALE else (code + 0.5) / WEIGHT_SCALE


def look_sentence(look: Look, distance: float | None, even: float) -> str:
    """What one position looks at.

    Args:
        distance: the head's mean distance in patches; None where it has none.
        even: that of a head that looks everywhere alike.
    """
    patches = look.codes[look.start : look.start + look.n].astype(int)
    order = sorted(range(look.n), key=lambda i: (-patches[i], i))[:NAMED]
    named = [
        f"{look.labels[look.start + i]} ({short(weight_of(patches[i]))})"
        for i in order
        if patches[i]
    ]
    start = f"Layer {look.layer}, head {look.head}: {look.labels[look.query]}"
    if not named:
        told = f"{start} looks at no patch"
    else:
        told = f"{start} looks most at {_listed(named)}"
    others = 0.0
    for i, code in enumerate(look.codes.tolist()):
        if not look.start <= i < look.start + look.n:
            others += weight_of(code)
    if look.n < len(look.labels):
        told += f"; {short(others)} goes to {look.others or others_name(look)}"
    beyond = 1 - sum(map(weight_of, look.codes.tolist()))
    if look.padded and beyond > LEAST + EVEN:
        told += f"; {short(beyond)} goes to the padding beyond the picture"
    if distance is not None:
        told += f". Its patches look {distance:.1f} patches far on average (everywhere alike: {even:.1f})"
    return f"{told}."


def others_name(look: Look) -> str:
    """What the positions are called that are no patches."""
    others = [*look.labels[: look.start], *look.labels[look.start + look.n :]]
    kinds = dict.fromkeys(label.rstrip(" 0123456789") for label in others)
    names = [kind if kind in others else f"{kind}s" for kind in kinds]
    return _listed(names)


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
