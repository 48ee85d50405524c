"""What a cloud shows, in words and numbers. The counterpart of embeddings/words.js."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..shared.messages import fixed, percent, quoted, size

VECTORS = "vectors"  # the row of vectors that were given, whatever they are


@dataclass(frozen=True)
class CloudFacts:
    """What a sentence is made from.

    shows: "layer", "paths" or "random"; where: the row in words; rows, points: how many; sample:
    what was left out; shares, chance: of the variance, what three components hold of the tokens and
    of random directions of the same lengths; lone: a token that makes more than half of the
    variance, and how much; token: the chosen one, its length, and how much of it is shown.
    """

    shows: str
    where: str
    rows: int
    points: int
    sample: str
    shares: Sequence[float]
    chance: Sequence[float]
    lone: tuple[str, int, float] | None = None
    token: tuple[str, int, float, float] | None = None


def point_of(where: str) -> str:
    """What one point of a row is: a token, or a vector of which nothing else is known."""
    return "vector" if where == VECTORS else "token"


def cloud_sentence(it: CloudFacts) -> str:
    one = point_of(it.where)
    many = f"{it.points} {one}{'' if it.points == 1 else 's'}"
    many += f" ({it.sample})" if it.sample else ""
    start = "" if it.where == VECTORS else f"{it.where[:1].upper()}{it.where[1:]}"
    whole, chance = sum(it.shares), sum(it.chance)
    parts = ", ".join(fixed(100 * x, 0) for x in it.shares)
    if whole <= 0:
        text = f"{start}{start and ': '}{many}, with no spread to show."
    elif it.shows == "random":
        text = (
            f"Random directions, each as far from the mean as a {one} is{_in(it.where)}: three "
            f"components hold {percent(chance)} of the variance of {many}. The {one}s’ own hold "
            f"{percent(whole)}."
        )
    elif it.shows == "paths":
        text = (
            f"The paths of {many} through {it.rows - 1} layers; components of all layers "
            f"together: three hold {percent(whole)} of the variance ({parts}), and "
            f"{percent(chance)} of random directions of the same lengths."
        )
    else:
        text = (
            f"{start}{start and ', '}{many}: three principal components hold {percent(whole)} of the variance "
            f"({parts}), and {percent(chance)} of random directions of the same lengths."
        )
    if it.lone is not None and it.shows != "paths":
        name, at, share = it.lone
        text += f" {quoted(name)} ({at}) alone makes {percent(share)} of the variance."
    if it.token is not None:
        name, at, length, kept = it.token
        text += (
            f" {quoted(name)} ({at}) has length {size(length)}; the picture shows "
            f"{percent(kept)} of its squared distance from the mean."
        )
    return text


def _in(where: str) -> str:
    if where == VECTORS:
        return ""
    return f" in the {where}" if where == "token embeddings" else f" {where}"
