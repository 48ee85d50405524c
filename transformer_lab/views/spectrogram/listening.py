"""When a word attends to a sound."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ...edits.constructors import edit_from_dict
from ..shared.edit_words import edit_words
from ..shared.map_sentences import EVEN
from ..shared.messages import NOTHING, messages, quoted

say = messages("spectrogram")
WIDE = 4  # a stretch longer than one fourth of the sound is too wide to be a place


@dataclass(frozen=True)
class Listening:
    """The facts that a sentence is made from.

    Args:
        who: the head or the mean, as the start of a sentence.
        word: the one that attends.
        weights: [position], sum 1.
        step: seconds from one position to the next.
        end: the end of the sound in seconds; silence follows.
        next: the next word, its probability, and whether it was given.
        span: (first, last) position that a reader chose, both included.
    """

    who: str
    word: str
    weights: Sequence[float]
    step: float
    end: float
    next: tuple[str, float, bool] | None = None
    span: tuple[int, int] | None = None


def who_words(layer: int, head: int, mean: str, heads: Sequence[int]) -> str:
    """A head, or the mean of several, as the start of a sentence; `heads`: how many per layer."""
    count = sum(heads) if mean == "all" else heads[layer]
    return say("who", layer=layer, head=head, mean=mean, heads=count)


def time_words(first: int, last: int, step: float) -> str:
    """The time span of positions, both included; each extends half a step to both sides."""
    return say("time", to=(last + 0.5) * step, **{"from": max(0.0, (first - 0.5) * step)})


def half_of(weights: Sequence[float]) -> tuple[int, int, float] | None:
    """The shortest run of positions that holds half of the weight: (first, last, its weight).

    Of several, the one that holds most, then the first. None if there is no weight.
    """
    sums = [0.0, *accumulate(weights)]
    n, total = len(weights), sums[-1]
    if total <= NOTHING:
        return None
    enough, shortest, end = total * (0.5 - EVEN), n, 0
    for first in range(n):
        end = max(end, first)
        while end < n and sums[end] - sums[first] < enough:
            end += 1
        if sums[end] - sums[first] < enough:
            break
        shortest = min(shortest, end - first)
    shortest = max(shortest, 1)
    best, most = 0, -1.0
    for first in range(n - shortest + 1):
        held = sums[first + shortest] - sums[first]
        if held > most + EVEN:
            best, most = first, held
    return best, best + shortest - 1, most


def silent_from(end: float, step: float, n: int) -> int:
    """The first position in the silence after the sound; n if there is none."""
    return next((i for i in range(n) if i * step >= end - 1e-9), n)


def held_by(weights: Sequence[float], first: int, end: int) -> float:
    """A sum from left to right, as in the browser; Python's `sum` rounds differently."""
    total = 0.0
    for weight in weights[first:end]:
        total += weight
    return total


def listen_sentence(seen: Listening) -> str:
    """A sentence about when one word attends to the sound."""
    weights, step, n = seen.weights, seen.step, len(seen.weights)
    silent = silent_from(seen.end, step, n)
    values: dict[str, Any] = dict(when=None, span=None, next=None, end=seen.end)
    values |= dict(silent=held_by(weights, silent, n) if silent < n else None)
    if (half := half_of(weights)) is not None:
        first, last, held = half
        wide = (last - first + 1) * WIDE > max(silent, WIDE)
        values |= dict(when=time_words(first, last, step), wide=wide, held=held)
    if seen.span is not None:
        first, last = seen.span
        held = held_by(weights, first, last + 1)
        values |= dict(span=time_words(first, last, step), span_held=held)
    if seen.next is not None:
        values |= dict(zip(("next", "p", "given"), seen.next, strict=True))
    return say("sentence", who=seen.who, word=seen.word, **values)


Plain = Mapping[str, Any]  # an edit as `Edit.to_dict` gives it


def _runs(edits: Sequence[Plain]) -> list[list[Plain]]:
    """Group edits: edges from one word to adjacent positions, or a single edit."""
    runs: list[list[Plain]] = []
    for one in edits:
        last = runs[-1][-1] if runs else {}
        edge = one["edit"] == "knock_out" and None not in (one.get("key"), last.get("key"))
        if edge and {**one, "key": one["key"] - 1} == last:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def edits_words(edits: Sequence[Plain], words: Sequence[str], step: float, n: int) -> str:
    """Edits as part of a sentence; edges from one word to adjacent positions are one time span."""
    names, times = (
        [quoted(word) for word in words],
        [time_words(key, key, step) for key in range(n)],
    )
    parts = []
    for one, *more in _runs(edits):
        if more:
            one, keys = {**one, "key": 0}, [time_words(one["key"], more[-1]["key"], step)]
            parts.append(edit_words(one, names, keys, "cross"))
            continue
        kind = one.get("kind")
        queries, keys = (
            times if kind == "encoder" else names,
            times if kind in ("encoder", "cross") else names,
        )
        parts.append(edit_words(one, queries, keys, "cross"))
    return " and ".join(parts)


def edits_code(edits: Sequence[Plain]) -> str:
    """Python code that makes these edits; edges to adjacent positions share an expression."""
    parts = []
    for one, *more in _runs(edits):
        code = edit_from_dict(one).code()
        if more:
            each = re.sub(r"\bkey=\d+", "key=k", code)
            code = f"*({each} for k in range({one['key']}, {more[-1]['key'] + 1}))"
        parts.append(code)
    return f"[{', '.join(parts)}]"
