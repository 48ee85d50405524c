"""Sentences about an attention pattern: the values of their messages, computed from its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .messages import NOTHING, messages, numbered

# The last bits of a number differ between processors, and between Python and a browser. Sentences
# must not depend on them where numbers are equal by nature: weights of 1/2 or 1/8, equal keys.
EQUAL = 1e-4  # changes that differ by less are equal; a browser computes with rounded weights
EVEN = 1e-5  # weights that differ by less are equal
TO_NOTHING = "to nothing"  # the column beside a pattern
HABITS = ("first", "itself", "before", "nothing")

say = messages("shared")
Spot = tuple["int | None", "int | None"]


@dataclass(frozen=True)
class Seen:
    """The context of a sentence: the head and the tokens."""

    kind: str
    layer: int
    head: int
    several: bool  # whether the trace has more than one kind of attention
    queries: Sequence[str]
    keys: Sequence[str]
    causal: bool
    same: bool  # whether queries and keys are the same tokens
    value_weighted: bool = False
    edited: bool = False  # whether the weights are those after edits
    # The fraction of each query's weight that goes to no key, if heads may attend to nothing.
    nothing: Sequence[float] | None = None
    over: str = ""  # what follows a head's name if its pattern combines several texts
    spread: bool = False  # whether the numbers are standard deviations over texts

    def to_nothing(self, query: int) -> float:
        """The fraction of a query's weight that goes to no key; 0 if it is not to be mentioned."""
        share = 0.0 if self.value_weighted or self.nothing is None else self.nothing[query]
        return share if share > 0.005 + EVEN else 0.0

    @property
    def skips_first(self) -> bool:
        """Whether sentences about the whole pattern omit the first query, which has no choice."""
        return self.causal and self.same and len(self.queries) > 1

    def say(self, message: str, /, **values: Any) -> str:
        words: dict[str, Any] = dict(several=self.several, kind=self.kind, layer=self.layer)
        words |= dict(head=self.head, edited=self.edited, over=self.over, value=self.value_weighted)
        return say(message, **words, **values)


def without_head(kind: str, layer: int, head: int, several: bool) -> str:
    """ "With layer 1, head 2 switched off": the start of a sentence about an edit."""
    return say("without", kind=kind, layer=layer, head=head, several=several)


def if_off(kind: str, layer: int, head: int, several: bool) -> str:
    """ "If layer 1, head 2 is switched off": the start of a sentence about an effect."""
    return say("if_off", kind=kind, layer=layer, head=head, several=several)


def moved(before: str, after: str, about: str = "") -> str:
    """How a written value changes: "goes from 34% to 36%", or "stays at 34%"."""
    return say("moved", same=before == after, before=before, after=after, about=about)


def query_sentence(seen: Seen, query: int, row: Tensor) -> str:
    """What one query attends to; `row` [key] as displayed."""
    nothing = seen.to_nothing(query) or None
    alone = seen.causal and seen.same and query == 0 and nothing is None
    values: dict[str, Any] = dict(query=numbered(seen.queries, query), nothing=nothing)
    itself = alone and _foremost(row) == 0
    return seen.say("query", **values, itself=itself, **_named(row, seen.keys))


def cell_sentence(seen: Seen, query: int, key: int, row: Tensor) -> str:
    """How much one query attends to one key."""
    weight = float(row[key])
    return seen.say(
        "cell",
        query=numbered(seen.queries, query),
        key=numbered(seen.keys, key),
        weight=weight,
        later=seen.causal and seen.same and key > query,
        rank=1 + int((row > weight + EVEN).sum()),
        reachable=int((row > NOTHING).sum()),
    )


def key_sentence(seen: Seen, key: int, column: Tensor) -> str:
    """Which queries attend to one key; `column` [query] as displayed."""
    return seen.say("key", key=numbered(seen.keys, key), **_named(column, seen.queries))


def between_sentence(
    seen: Seen, a: tuple[int, int], b: tuple[int, int], share: float, even: float
) -> str:
    """How much attention the queries of span a pay to span b, on average, and how much if they
    attended evenly to every key that they can see."""
    return seen.say("between", share=share, even=even, **_spans(seen, a, b))


def between_change_sentence(
    seen: Seen, a: tuple[int, int], b: tuple[int, int], before: float, after: float
) -> str:
    """How edits change the attention that the queries of span a pay to span b, on average."""
    return seen.say("between_change", before=before, after=after, **_spans(seen, a, b))


def _spans(seen: Seen, a: tuple[int, int], b: tuple[int, int]) -> dict[str, Any]:
    values: dict[str, Any] = {"about": False}
    for name, tokens, (start, end) in (("from", seen.queries, a), ("to", seen.keys, b)):
        values |= {
            name: numbered(tokens, start),
            f"{name}_end": numbered(tokens, end - 1),
            f"{name}_n": end - start,
        }
    return values


def difference_sentence(seen: Seen, change: Tensor, selected: Spot | None) -> str:
    """What edits changed in a pattern; `change` [query, key] is after minus before."""
    return _say_extreme("difference", seen, change, selected)


def spread_sentence(seen: Seen, spread: Tensor, selected: Spot | None) -> str:
    """Where texts differ most in a pattern, or in its selected part; `spread` [query, key]."""
    return _say_extreme("spread", seen, spread, selected)


def _say_extreme(message: str, seen: Seen, values: Tensor, selected: Spot | None) -> str:
    """A sentence about the largest number of a pattern, or of its selected part. Of equal ones the
    first is taken: one token loses what another gains, and browsers hold rounded weights."""
    query, key = selected or (None, None)
    best, change = (query or 0, key or 0), 0.0
    for q in range(len(seen.queries)) if query is None else [query]:
        for k, value in enumerate(values[q].tolist()):
            if (key is None or k == key) and abs(value) > abs(change) + EQUAL:
                best, change = (q, k), value
    pair = query is not None and key is not None
    change = float(values[best]) if pair else change
    return seen.say(
        message,
        query=numbered(seen.queries, best[0]),
        key=numbered(seen.keys, best[1]),
        change=change,
        size=abs(change),
        part="pair" if pair else "whole" if selected is None else "here",
    )


def head_sentence(seen: Seen, row_of: Callable[[int], Tensor], queries: int) -> str:
    """What stands out in a whole pattern; its habit is a mean over the queries that have a choice.

    Args:
        row_of: query -> [key], as displayed.
        queries: how many rows to sample, spread over the text.
    """
    total = len(seen.queries)
    count = min(queries, total)
    first = itself = before = nothing = 0.0
    rows, best = 0, (-1.0, 0, 0)
    for i in range(count):
        query = i if count == total else int(i * (total - 1) / (count - 1) + 0.501)
        if seen.skips_first and query == 0:
            continue
        row = row_of(query)
        rows += 1
        first += float(row[0])
        nothing += seen.to_nothing(query)
        if seen.same:
            itself += float(row[query]) if query > 0 else 0.0
            before += float(row[query - 1]) if query > 1 else 0.0
        key = _foremost(row)
        if float(row[key]) > best[0] + EVEN:
            best = (float(row[key]), query, key)
    weight, query, key = best
    shares = [part / max(1, rows) for part in (first, itself, before, nothing)]
    return standing_out(seen, query, key, weight, shares)


def standing_out(seen: Seen, query: int, key: int, weight: float, shares: Sequence[float]) -> str:
    """A pattern's largest weight, and its habit if it has one.

    Args:
        shares: mean weights on the first key, on the query's own key, on the one before, and on
            nothing.
    """
    at = _foremost(shares)
    has = shares[at] >= 0.2 - EVEN and not seen.value_weighted
    return seen.say(
        "whole",
        found=weight > 0,
        skips=seen.skips_first,
        query=numbered(seen.queries, query),
        key=numbered(seen.keys, key),
        weight=weight,
        first=numbered(seen.keys, 0),
        share=shares[at],
        habit=HABITS[at] if has else None,
    )


def _foremost(row: Sequence[float] | Tensor) -> int:
    """The index of the largest entry; of equal ones the first."""
    row = torch.as_tensor(row)
    return int((row >= row.max() - EVEN).nonzero()[0])


def _largest(row: Tensor) -> list[tuple[int, float]]:
    """Up to three entries above 0.005 with their indices, largest first; of equal ones the
    first."""
    left, found = row.float().clone(), []
    while len(found) < min(3, len(row)):
        index = _foremost(left)
        weight = float(left[index])
        if weight <= 0.005 + EVEN:
            break
        found.append((index, weight))
        left[index] = -1
    return found


def _named(row: Tensor, tokens: Sequence[str]) -> dict[str, Any]:
    """The number of entries that stand out, each with its weight, and the largest weight."""
    top, most = _largest(row), float(row[_foremost(row)])
    names = [say("weighted", token=numbered(tokens, at), weight=weight) for at, weight in top]
    return {"n": len(names), "weight": most, **dict(zip("abc", names, strict=False))}


def long_time(seconds: float) -> str:
    """A duration in words: "4 minutes", "3 hours"."""
    minutes = max(1, round(seconds / 60))
    return say("minutes", n=minutes) if minutes < 90 else say("hours", n=round(minutes / 60))
