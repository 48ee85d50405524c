"""When a word attends to a sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ..shared.edit_words import edit_words
from ..shared.map_sentences import EVEN
from ..shared.messages import NOTHING, messages, quoted

say = messages("spectrogram")
WIDE = 4  # a stretch longer than this part of the sound is no place


@dataclass(frozen=True)
class Listening:
    """What a sentence is made from.

    Args:
        who: the head or the mean, at the beginning of a sentence.
        word: that attends.
        weights: [position], that sum to 1.
        step: seconds from one position to the next.
        end: when the sound ends, in seconds; what comes after is silence.
        next: the word after it, its probability, and whether it was given.
        span: of positions, both included, that a reader chose.
    """

    who: str
    word: str
    weights: Sequence[float]
    step: float
    end: float
    next: tuple[str, float, bool] | None = None
    span: tuple[int, int] | None = None


def who_words(layer: int, head: int, mean: str, heads: Sequence[int]) -> str:
    """A head, or the mean of several, at the beginning of a sentence; `heads` of each layer."""
    count = sum(heads) if mean == "all" else heads[layer]
    return say("who", layer=layer, head=head, mean=mean, heads=count)


def time_words(first: int, last: int, step: float) -> str:
    """From when to when positions are, both included: each reaches half a step to both sides."""
    return say("time", to=(last + 0.5) * step, **{"from": max(0.0, (first - 0.5) * step)})


def half_of(weights: Sequence[float]) -> tuple[int, int, float] | None:
    """The shortest run of positions that holds half of the weight: first, last and what it holds; of
    several the one that holds most, of even ones the first. None where there is no weight."""
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
    """The first position in the silence after the sound; n where there is none."""
    return next((i for i in range(n) if i * step >= end - 1e-9), n)


def held_by(weights: Sequence[float], first: int, end: int) -> float:
    """A sum from left to right, as the browser makes it; Python's own is rounded another way."""
    total = 0.0
    for weight in weights[first:end]:
        total += weight
    return total


def listen_sentence(seen: Listening) -> str:
    """When one word attends to the sound."""
    weights, step, n = seen.weights, seen.step, len(seen.weights)
    silent = silent_from(seen.end, step, n)
    values: dict[str, Any] = dict(when=None, span=None, next=None, end=seen.end)
    values |= dict(silent=held_by(weights, silent, n) if silent < n else None)
    found = half_of(weights)
    if found is not None:
        first, last, held = found
        wide = (last - first + 1) * WIDE > max(silent, WIDE)
        values |= dict(when=time_words(first, last, step), wide=wide, held=held)
    if seen.span is not None:
        first, last = seen.span
        held = held_by(weights, first, last + 1)
        values |= dict(span=time_words(first, last, step), span_held=held)
    if seen.next is not None:
        values |= dict(zip(("next", "p", "given"), seen.next, strict=True))
    return say("sentence", who=seen.who, word=seen.word, **values)


def edits_words(
    edits: Sequence[Mapping[str, Any]], words: Sequence[str], step: float, n: int
) -> str:
    """Edits inside a sentence; edges from one word to positions beside each other are told as a time."""
    told, names, i = [], [quoted(word) for word in words], 0
    times = [time_words(key, key, step) for key in range(n)]
    while i < len(edits):
        one, last = edits[i], i
        rest = _but_key(one)
        while (
            one["edit"] == "knock_out"
            and one.get("key") is not None
            and last + 1 < len(edits)
            and _but_key(edits[last + 1]) == rest
            and edits[last + 1].get("key") == edits[last]["key"] + 1
        ):
            last += 1
        if last > i:
            when = time_words(one["key"], edits[last]["key"], step)
            told.append(edit_words({**one, "key": 0}, names, [when], "cross"))
        elif one.get("kind") == "cross":
            told.append(edit_words(one, names, times, "cross"))
        else:
            side = times if one.get("kind") == "encoder" else names
            told.append(edit_words(one, side, side, "cross"))
        i = last + 1
    return " and ".join(told)


def _but_key(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "key"}
