"""Sentences about an attention pattern, in Python: map_sentences.js, on the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .javascript import call
from .messages import messages
from .modules import VIEWS

SENTENCES = VIEWS / "shared" / "map_sentences.js"
EVEN = 1e-5  # weights that differ by less are equal
TO_NOTHING = "to nothing"  # the column beside a pattern

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

    def to_nothing(self, queries: Sequence[int]) -> list[float]:
        """The fraction of each query's weight that goes to no key; 0 if it is not to be mentioned."""
        return call(SENTENCES, "allToNothing", self.plain, queries)

    @property
    def plain(self) -> dict[str, Any]:
        """The same for JavaScript."""
        return {**vars(self), "valueWeighted": self.value_weighted}


def without_head(kind: str, layer: int, head: int, several: bool) -> str:
    """ "With layer 1, head 2 switched off": the start of a sentence about an edit."""
    return say("without", kind=kind, layer=layer, head=head, several=several)


def if_off(kind: str, layer: int, head: int, several: bool) -> str:
    """ "If layer 1, head 2 is switched off": the start of a sentence about an effect."""
    return say("if_off", kind=kind, layer=layer, head=head, several=several)


def query_sentence(seen: Seen, query: int, row: Tensor) -> str:
    """What one query attends to; `row` [key] as displayed."""
    return call(SENTENCES, "querySentence", seen.plain, query, row)


def cell_sentence(seen: Seen, query: int, key: int, row: Tensor) -> str:
    """How much one query attends to one key."""
    return call(SENTENCES, "cellSentence", seen.plain, query, key, row)


def key_sentence(seen: Seen, key: int, column: Tensor) -> str:
    """Which queries attend to one key; `column` [query] as displayed."""
    return call(SENTENCES, "keySentence", seen.plain, key, column)


def between_sentence(
    seen: Seen, a: tuple[int, int], b: tuple[int, int], share: float, even: float
) -> str:
    """How much attention the queries of span a pay to span b, on average, and how much if they
    attended evenly to every key that they can see."""
    return call(SENTENCES, "betweenSentence", seen.plain, a, b, share, even)


def between_change_sentence(
    seen: Seen, a: tuple[int, int], b: tuple[int, int], before: float, after: float
) -> str:
    """How edits change the attention that the queries of span a pay to span b, on average."""
    return call(SENTENCES, "betweenChangeSentence", seen.plain, a, b, before, after)


def difference_sentence(seen: Seen, change: Tensor, selected: Spot | None) -> str:
    """What edits changed in a pattern; `change` [query, key] is after minus before."""
    return call(SENTENCES, "mapSentence", "difference", seen.plain, change, selected)


def spread_sentence(seen: Seen, spread: Tensor, selected: Spot | None) -> str:
    """Where texts differ most in a pattern, or in its selected part; `spread` [query, key]."""
    return call(SENTENCES, "mapSentence", "spread", seen.plain, spread, selected)


def head_sentence(seen: Seen, row_of: Callable[[int], Tensor], queries: int) -> str:
    """What stands out in a whole pattern; its habit is a mean over the queries that have a choice.

    Args:
        row_of: query -> [key], as displayed.
        queries: how many rows to sample, spread over the text.
    """
    places = call(SENTENCES, "sampledRows", len(seen.queries), queries)
    rows = torch.stack([row_of(query) for query in places])
    return call(SENTENCES, "headSentenceOf", seen.plain, places, rows)


def standing_out(seen: Seen, query: int, key: int, weight: float, shares: Sequence[float]) -> str:
    """A pattern's largest weight, and its habit if it has one.

    Args:
        shares: mean weights on the first key, on the query's own key, on the one before, and on
            nothing.
    """
    return call(
        SENTENCES, "standingOut", seen.plain, {"query": query, "key": key, "weight": weight}, shares
    )


def long_time(seconds: float) -> str:
    """A duration in words: "4 minutes", "3 hours"."""
    minutes = max(1, round(seconds / 60))
    return say("minutes", n=minutes) if minutes < 90 else say("hours", n=round(minutes / 60))
